//! Keep all limits of an AI provider at once.

mod accounting;
mod answer;
mod body;
mod class;
mod estimate;
mod exhausted;
pub mod future;
mod include_usage;
mod layer;
mod limiter;
mod limits;
mod plain;
mod quota;
mod refused;
mod reservation;
mod service;
mod shared;
mod snapshot;
mod table;
mod usage;

pub use self::{
    accounting::{Accounting, Counting},
    answer::Answer,
    body::ResponseBody,
    class::Class,
    estimate::{ByLength, Estimate},
    exhausted::QuotaExhausted,
    include_usage::include_usage,
    layer::ProviderLayer,
    limiter::ProviderLimiter,
    limits::{Provider, Shape},
    reservation::Reservation,
    service::ProviderService,
    snapshot::{LimitUsage, Usage},
    table::UnknownProvider,
};
