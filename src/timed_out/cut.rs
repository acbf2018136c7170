//! What drops can't be told: that it is a timeout that drops them.

use std::cell::Cell;

thread_local! {
    static IS_CUT: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, what this thread drops took too long.
pub(super) struct Cutting {
    outside: bool,
}

/// Whether what is being dropped, the caller with it, took too long.
pub(crate) fn is_cut() -> bool {
    IS_CUT.get()
}

// ===== impl Cutting =====

impl Cutting {
    pub(super) fn begin() -> Self {
        let outside = IS_CUT.replace(true);
        Self { outside }
    }
}

/// Also where what was dropped has panicked.
impl Drop for Cutting {
    fn drop(&mut self) {
        IS_CUT.set(self.outside);
    }
}

#[cfg(test)]
mod tests {
    use std::{panic::catch_unwind, time::Duration};

    use super::*;
    use crate::TimedOut;

    const WHY: TimedOut = TimedOut::Call(Duration::ZERO);

    #[test]
    fn only_what_is_dropped_inside_is_cut() {
        assert!(!is_cut());
        let error = WHY.after_drop(|| {
            assert!(is_cut());
            WHY.after_drop(|| assert!(is_cut()));
            assert!(is_cut(), "as before the inner one");
            std::thread::spawn(|| assert!(!is_cut())).join().unwrap();
        });
        assert!(!is_cut());
        assert_eq!(TimedOut::of(&error), Some(WHY));
    }

    #[test]
    fn a_drop_that_panics_ends_it() {
        catch_unwind(|| WHY.after_drop(|| panic!("dropped"))).unwrap_err();
        assert!(!is_cut());
    }
}
