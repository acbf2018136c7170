//! Macros for bodies that wrap another body.

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

pub(crate) use {body_hints, wraps_body};
