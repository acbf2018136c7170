//! The few protocol buffers of a gRPC rejection.
//!
//! <https://protobuf.dev/programming-guides/encoding/>

use std::time::Duration;

/// The longest that a `google.protobuf.Duration` can be: about 10,000 years.
const LONGEST: Duration = Duration::new(315_576_000_000, 999_999_999);

/// Returns a `google.rpc.Status` whose one detail is a `google.rpc.RetryInfo`.
pub(super) fn status_with_retry_info(code: u8, message: &str, delay: Duration) -> Vec<u8> {
    let delay = delay.min(LONGEST);
    let duration = Message::default()
        .number(1, delay.as_secs())
        .number(2, delay.subsec_nanos().into());
    let retry_info = Message::default().bytes(1, &duration.0);
    let any = Message::default()
        .bytes(1, b"type.googleapis.com/google.rpc.RetryInfo")
        .bytes(2, &retry_info.0);
    let status = Message::default()
        .number(1, code.into())
        .bytes(2, message.as_bytes())
        .bytes(3, &any.0);
    status.0
}

#[derive(Default)]
struct Message(Vec<u8>);

// ===== impl Message =====

impl Message {
    /// Adds a number that is not negative. A missing field is 0.
    fn number(mut self, field: u8, number: u64) -> Self {
        if number > 0 {
            self.0.push(field << 3);
            self.varint(number);
        }
        self
    }

    /// Adds a string, or a message in this one.
    fn bytes(mut self, field: u8, bytes: &[u8]) -> Self {
        self.0.push(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    /// Adds seven bits a byte, the lowest first; the eighth bit means that there are more.
    fn varint(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, RetryInfo, StatusExt};

    use super::*;

    /// The same by prost.
    fn expected(message: &str, delay: Duration) -> Vec<u8> {
        let details = ErrorDetails::with_retry_info(Some(delay));
        let status = Status::with_error_details(Code::ResourceExhausted, message, details);
        status.details().to_vec()
    }

    fn delays() -> impl Strategy<Value = Duration> {
        let nanos = prop_oneof![Just(0), Just(1), Just(999_999_999), 0..1_000_000_000_u32];
        // Numbers of each length.
        let seconds = (any::<u64>(), 0..64_u32).prop_map(|(seconds, shift)| seconds >> shift);
        (seconds, nanos).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
    }

    #[test]
    fn delays_at_the_ends_are_encoded_as_prost_does() {
        assert_eq!(LONGEST, RetryInfo::MAX_RETRY_DELAY);
        let just_over = LONGEST + Duration::from_nanos(1);
        for delay in [Duration::ZERO, LONGEST, just_over, Duration::MAX] {
            let ours = status_with_retry_info(8, "wait", delay);
            assert_eq!(ours, expected("wait", delay), "{delay:?}");
        }
    }

    proptest! {
        #[test]
        fn any_status_is_encoded_as_prost_does(message in ".{1,300}", delay in delays()) {
            let ours = status_with_retry_info(8, &message, delay);
            prop_assert_eq!(ours, expected(&message, delay));
        }
    }
}
