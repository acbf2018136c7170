//! What bodies that wrap another one have in common.

/// The methods of a [`Body`](http_body::Body) that say the same as the body in a field.
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

/// What a body that wraps another one and is `From` it has too if the other has it.
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
