//! Macros for bodies that are streams or wrap another body.

/// Forwards `is_end_stream` and `size_hint` of a [`Body`](http_body::Body) to a field.
macro_rules! body_hints {
    ($field:ident) => {
        fn is_end_stream(&self) -> bool {
            self.$field.is_end_stream()
        }

        fn size_hint(&self) -> http_body::SizeHint {
            self.$field.size_hint()
        }
    };
}

/// Implements the body traits of this crate for a wrapper with `From`, if the wrapped body has
/// them.
macro_rules! wraps_body {
    ($type:ident<B $(: $bound:ident)? $(, $other:ident $(: $other_bound:ident)?)?>) => {
        impl<B: Default $(+ $bound)? $(, $other $(: $other_bound)?)?> Default
            for $type<B $(, $other)?>
        {
            fn default() -> Self {
                B::default().into()
            }
        }

        impl<B: $crate::http::TextBody $(+ $bound)? $(, $other $(: $other_bound)?)?>
            $crate::http::TextBody for $type<B $(, $other)?>
        {
            fn from_text(text: String) -> Self {
                B::from_text(text).into()
            }
        }
    };
}

/// Implements the traits of request bodies for a stream: only an empty one can be cloned or peeked.
macro_rules! stream_body {
    ([$($generics:tt)*] $body:ty) => {
        impl<$($generics)*> $crate::http::TryClone for $body {
            fn try_clone(&self) -> Option<Self> {
                http_body::Body::is_end_stream(self).then(Self::default)
            }
        }

        impl<$($generics)*> $crate::http::PeekBody for $body {
            fn peek<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
                http_body::Body::is_end_stream(self).then(|| look(&[]))
            }
        }
    };
}

pub(crate) use {body_hints, stream_body, wraps_body};
