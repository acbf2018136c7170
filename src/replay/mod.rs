//! Bodies that are recorded while they are sent, so that they can be sent again.
