//! Metrics and events.

mod calls;
mod every_layer;
mod limits;
mod recorder;
mod table;
