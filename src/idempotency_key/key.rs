//! Random keys.

/// Returns a UUID of version 4. With numbers of the thread's generator it can't be predicted.
pub(super) fn uuid(random: u128) -> String {
    const VERSION: u128 = 0xf << 76;
    const VARIANT: u128 = 0b11 << 62;
    let bits = random & !(VERSION | VARIANT) | 4 << 76 | 0b10 << 62;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        bits >> 96,
        bits >> 80 & 0xffff,
        bits >> 64 & 0xffff,
        bits >> 48 & 0xffff,
        bits & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn version_and_variant_stand_where_they_belong() {
        assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let digits = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;
        assert_eq!(uuid(digits), "01234567-89ab-4def-8123-456789abcdef");
    }

    proptest! {
        #[test]
        fn every_key_is_a_header_of_36_characters(random: u128) {
            let header = HeaderValue::try_from(uuid(random)).unwrap();
            prop_assert_eq!(header.len(), 36);
            prop_assert_eq!(header.to_str().unwrap(), uuid(random));
        }
    }
}
