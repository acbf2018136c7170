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

pub(crate) use inner;
