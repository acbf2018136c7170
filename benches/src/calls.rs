//! The innermost services, and how a call is driven.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    marker::PhantomData,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use axum::extract::ConnectInfo;
use http::{Request, Response};
use tower::Service;

use crate::measure::Contender;

/// Responds at once with nothing.
#[derive(Debug)]
pub(crate) struct Nothing<B = String>(PhantomData<fn() -> B>);

pub(crate) fn nothing<B>() -> Nothing<B> {
    Nothing(PhantomData)
}

impl<B> Clone for Nothing<B> {
    fn clone(&self) -> Self {
        nothing()
    }
}

impl<B: Default> Service<Request<()>> for Nothing<B> {
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Answer<B>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, _: Request<()>) -> Self::Future {
        Answer(PhantomData)
    }
}

/// The response future of [`Nothing`], which makes the response when it is polled.
#[derive(Debug)]
pub(crate) struct Answer<B>(PhantomData<fn() -> B>);

impl<B: Default> Future for Answer<B> {
    type Output = Result<Response<B>, Infallible>;

    #[inline]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(Response::new(B::default())))
    }
}

/// Responds at once with the request: the lightest service, so that a layer's own cost shows.
#[derive(Debug, Clone)]
pub(crate) struct Echo;

impl Service<u64> for Echo {
    type Response = u64;
    type Error = Infallible;
    type Future = Ready<Result<u64, Infallible>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, number: u64) -> Self::Future {
        ready(Ok(number))
    }
}

/// Readies the service, calls it, and polls the response, which is ready at once.
pub(crate) fn calls<S>(service: S) -> Contender
where
    S: Service<Request<()>> + 'static,
{
    call_with(service, || Request::new(()))
}

/// The same, with the peer's address in the request, as a server adds it.
pub(crate) fn calls_from_peer<S>(service: S) -> Contender
where
    S: Service<Request<()>> + 'static,
{
    let mut request = Request::new(());
    let peer = SocketAddr::from(([127, 0, 0, 1], 4_321));
    request.extensions_mut().insert(ConnectInfo(peer));
    call_with(service, move || request.clone())
}

/// The same for an [`Echo`].
pub(crate) fn echoes<S: Service<u64> + 'static>(service: S) -> Contender {
    call_with(service, || 7)
}

pub(crate) fn call_with<S, R>(mut service: S, request: impl Fn() -> R + 'static) -> Contender
where
    S: Service<R> + 'static,
{
    Box::new(move |count| {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..count {
            assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))));
            let answer = pin!(service.call(black_box(request())));
            match answer.poll(&mut cx) {
                Poll::Ready(Ok(response)) => drop(black_box(response)),
                Poll::Ready(Err(_)) => panic!("refused"),
                Poll::Pending => panic!("made to wait"),
            }
        }
    })
}

/// Makes bare checks.
pub(crate) fn checks(mut check: impl FnMut() -> bool + 'static) -> Contender {
    Box::new(move |count| {
        for _ in 0..count {
            assert!(black_box(check()));
        }
    })
}
