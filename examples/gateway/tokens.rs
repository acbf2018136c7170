//! The tokens that a response says it has used.

use serde_json::Value;

/// Reads the usage in a response of OpenAI or Anthropic. Counts are cumulative, so the largest are
/// the last.
#[derive(Debug, Default)]
pub(crate) struct TokenReader {
    /// The line of a stream that has not ended.
    line: Vec<u8>,
    input: u64,
    output: u64,
}

// ===== impl TokenReader =====

impl TokenReader {
    /// The tokens so far, if any were reported.
    pub(crate) fn used(&self) -> Option<u64> {
        Some(self.input + self.output).filter(|used| *used > 0)
    }

    /// Reads the next bytes of a stream of events.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                // Most events have none, and need not be parsed.
                let has_usage = line.windows(8).any(|part| part == b"_tokens\"");
                if let Some(event) = line.strip_prefix(b"data:").filter(|_| has_usage) {
                    self.read(event);
                }
            }
        }
    }

    /// Reads an event, or a response that is no stream.
    pub(crate) fn read(&mut self, json: &[u8]) {
        let json: Value = serde_json::from_slice(json).unwrap_or_default();
        for usage in [&json["usage"], &json["message"]["usage"]] {
            let sum = |names: &[&str]| names.iter().filter_map(|name| usage[*name].as_u64()).sum();
            let cached = ["cache_creation_input_tokens", "cache_read_input_tokens"];
            let input = sum(&["prompt_tokens", "input_tokens", cached[0], cached[1]]);
            self.input = self.input.max(input);
            let output = sum(&["completion_tokens", "output_tokens"]);
            self.output = self.output.max(output);
        }
    }
}
