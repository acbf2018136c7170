//! All layers of a client at once, in the right order.
