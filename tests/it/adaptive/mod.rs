//! Limits on what is in flight that find themselves, and priorities.

mod backend;
mod debts;
mod deceived;
mod doors;
mod priorities;
mod signals;
mod simulation;
