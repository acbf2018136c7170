//! Accessors of the inner service, which every service of this crate has.

/// The three methods, for a field that contains the inner service as an `S`.
macro_rules! inner {
    ($($field:tt).+) => {
        /// Returns a reference to the inner service.
        pub const fn get_ref(&self) -> &S {
            &self.$($field).+
        }

        /// Returns a mutable reference to the inner service.
        pub const fn get_mut(&mut self) -> &mut S {
            &mut self.$($field).+
        }

        /// Returns the inner service.
        pub fn into_inner(self) -> S {
            self.$($field).+
        }
    };
}

pub(crate) use inner;
