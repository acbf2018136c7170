use std::error::Error;

pub(super) fn wrapped<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    Some(match error.downcast_ref()? {
        reqwest_middleware::Error::Middleware(error) => error.as_ref(),
        reqwest_middleware::Error::Reqwest(error) => error,
    })
}
