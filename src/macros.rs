//! What every service of this crate lets its owner do with the service inside.

/// The three methods, for a field that holds the service inside as an `S`.
macro_rules! inner {
    ($($field:tt).+) => {
        /// The service inside.
        pub const fn get_ref(&self) -> &S {
            &self.$($field).+
        }

        /// The service inside, to change.
        pub const fn get_mut(&mut self) -> &mut S {
            &mut self.$($field).+
        }

        /// The service inside, taken out.
        pub fn into_inner(self) -> S {
            self.$($field).+
        }
    };
}

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

pub(crate) use {body_hints, inner, wraps_body};
