//! Answer what was asked before without asking again.
