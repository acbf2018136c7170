//! The marks of the requests in flight.

use super::{MOST_METERS, meter::Mark};

/// The mark of each limit for the response of a request.
pub(super) type RequestMarks = [Mark; MOST_METERS];

/// The marks of all requests in flight.
///
/// They are not in the tickets, so that those are small: a ticket moves several times. A place is
/// used again, so nothing is allocated unless more requests are in flight than ever before.
#[derive(Debug, Default)]
pub(super) struct Marks {
    places: Vec<RequestMarks>,
    free: Vec<usize>,
}

// ===== impl Marks =====

impl Marks {
    /// Returns a place for the marks of a request, with any content.
    #[inline]
    pub(super) fn join(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| self.grow())
    }

    #[cold]
    fn grow(&mut self) -> usize {
        self.places.push(RequestMarks::default());
        self.places.len() - 1
    }

    #[inline]
    pub(super) fn of(&mut self, place: usize) -> &mut RequestMarks {
        &mut self.places[place]
    }

    /// Frees the place of a request that has ended.
    #[inline]
    pub(super) fn leave(&mut self, place: usize) {
        self.free.push(place);
    }
}
