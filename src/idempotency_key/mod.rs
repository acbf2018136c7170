//! One idempotency key for all attempts of a request.
