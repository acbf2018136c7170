//! The flags, and their errors in one line each.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{Parser, ValueEnum, error::ErrorKind};
use serde::Deserialize;
use tower_throttle::provider::Provider;

use crate::{
    simulate::Simulate,
    values::{at_least_one, seconds, seconds_or_none, shares, up_to_a_million, up_to_ten_million},
};

/// The flags.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "batch",
    // A negative number gets the error of its flag, not "unexpected argument".
    allow_negative_numbers = true,
    about = "Send a file of prompts through a limited API, as fast as is allowed, and lose none",
    after_help = AFTER_HELP
)]
pub(crate) struct Args {
    /// The provider, such as https://api.openai.com/v1. Without it the run is against a simulated one
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,
    /// Several providers, in TOML, such as in examples/batch/config.toml: each request goes to the
    /// one that can respond soonest
    #[arg(long, value_name = "FILE", conflicts_with_all = ["base_url", "provider", "learn", "kind",
        "rpm", "tpm", "concurrent", "window", "no_limits", "fallback_url", "serve", "simulate",
        "real_usage", "down_from", "down_for", "outage", "chaos", "matrix"])]
    pub(crate) config: Option<PathBuf>,
    /// The key for --base-url
    #[arg(
        long,
        env = "OPENAI_API_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub(crate) api_key: Option<String>,
    /// The model, where a prompt does not name one
    #[arg(long, default_value = "gpt-4o-mini")]
    pub(crate) model: String,
    /// How many prompts to make up, where there is no --prompts
    #[arg(long, value_name = "N", value_parser = up_to_ten_million)]
    pub(crate) requests: Option<usize>,
    /// Make up only N different prompts, and repeat them
    #[arg(long, value_name = "N", value_parser = at_least_one, conflicts_with = "prompts")]
    pub(crate) distinct: Option<u64>,
    /// The prompts: plain lines, JSON lines {"prompt","max_tokens"}, or OpenAI's batch format
    #[arg(long, value_name = "FILE", conflicts_with = "requests")]
    pub(crate) prompts: Option<PathBuf>,
    /// How many tokens the response to a made-up prompt may have
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = at_least_one, conflicts_with = "prompts")]
    pub(crate) max_tokens: u64,
    /// Make up prompts of about N tokens, in place of about 15
    #[arg(long, value_name = "N", value_parser = up_to_a_million, conflicts_with = "prompts")]
    pub(crate) input: Option<u64>,
    /// Where responses go, in the format of OpenAI's batch output. Prompts that have one there are
    /// not sent again
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// How many requests are worked on at once, waiting ones included
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = at_least_one)]
    pub(crate) workers: u64,
    /// Keep the limits of this provider of the table, such as openai-tier-1; the simulated one also
    /// has them
    #[arg(long, value_name = "NAME", value_parser = Provider::by_name)]
    pub(crate) provider: Option<Provider>,
    /// Learn the limits, and how much other clients use, from the headers of responses
    #[arg(long, conflicts_with = "no_limits")]
    pub(crate) learn: bool,
    /// Whether the limits hold in any window, or are buckets that refill. The default is the
    /// provider's kind
    #[arg(long, value_name = "KIND", value_enum)]
    pub(crate) kind: Option<Kind>,
    /// The most requests in each window
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) rpm: Option<u64>,
    /// The most tokens in each window: of the prompts, and the most that the responses may have
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) tpm: Option<u64>,
    /// The most requests in flight
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) concurrent: Option<u64>,
    /// The period that the limits speak of, in seconds; fractions are fine
    #[arg(long, value_name = "SECS", default_value = "60", value_parser = seconds)]
    pub(crate) window: Duration,
    /// Keep no limits on this side: send at once, and retry what is rejected
    #[arg(long)]
    pub(crate) no_limits: bool,
    /// Share the limits with other jobs, through this server of Redis or Valkey, such as
    /// redis://localhost:6379
    #[arg(long, value_name = "URL", requires = "shared_name", conflicts_with_all = ["no_limits",
        "serve", "matrix", "config"])]
    pub(crate) shared: Option<String>,
    /// The name of the limits there: the same for all jobs that use one API key
    #[arg(long, value_name = "NAME", requires = "shared")]
    pub(crate) shared_name: Option<String>,
    /// Seconds to wait for a response to begin, and for each further part of it; ten times as long
    /// for all of it
    #[arg(long, value_name = "SECS", default_value = "60", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Ask equal prompts once
    #[arg(long)]
    pub(crate) cache: bool,
    /// Stream the responses, and join them again
    #[arg(long)]
    pub(crate) stream: bool,
    /// A second provider, for the requests that fail at the first one. Once more: a third one, and
    /// so on
    #[arg(long, value_name = "URL")]
    pub(crate) fallback_url: Vec<String>,
    /// The key for --fallback-url; for several, each in turn, and '' for one without
    #[arg(
        long,
        env = "FALLBACK_API_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub(crate) fallback_api_key: Vec<String>,
    /// The model to ask --fallback-url for, where it has another name there; for several, each in
    /// turn, and '' for the same
    #[arg(long, value_name = "MODEL", requires = "fallback_url")]
    pub(crate) fallback_model: Vec<String>,
    /// End with one line of JSON on stdout; everything else goes to stderr
    #[arg(long)]
    pub(crate) json: bool,

    /// Only run the simulator, with the limits given, and print its URL
    #[arg(long, help_heading = "Simulator", conflicts_with_all = ["base_url", "prompts", "out"])]
    pub(crate) serve: bool,
    /// Be this provider of the table, and behave so: refill=bucket, sliding or fixed; refund=yes
    /// or no, of tokens that a response did not use; rejected=yes or no, whether such requests
    /// count; latency=2-12, lognormal, in seconds; usage=80-80 as for --real-usage; round=1000, what
    /// headers say is left of tokens; stale=1, the age of that in seconds; others=30, which other
    /// users of the key take, in per cent. The client knows of the limits what --provider, --rpm and
    /// so on say, or nothing
    #[arg(long, help_heading = "Simulator", value_name = "NAME,KEY=VALUE,...", value_parser = Simulate::from_str, conflicts_with = "base_url")]
    pub(crate) simulate: Option<Simulate>,
    /// Print a table of many simulated providers: how close to the ideal runs come. With a value as
    /// for --simulate, of that one alone
    #[arg(long, help_heading = "Simulator", value_name = "NAME,KEY=VALUE,...", num_args = 0..=1, default_missing_value = "")]
    pub(crate) matrix: Option<String>,
    /// For --matrix with a value: how many clients use the key that know nothing of each other
    #[arg(long, help_heading = "Simulator", value_name = "N", default_value_t = 1, value_parser = at_least_one, requires = "matrix")]
    pub(crate) clients: u64,
    /// How much of the tokens that they reserve requests use, in per cent. The default is 30-100
    /// for a provider that has a name; any other one uses the whole prompt and responds with 12
    /// words
    #[arg(long, help_heading = "Simulator", value_name = "FROM-TO", value_parser = shares, conflicts_with = "base_url")]
    pub(crate) real_usage: Option<(u64, u64)>,
    /// The port of --serve; 0 lets the system choose
    #[arg(
        long,
        help_heading = "Simulator",
        value_name = "PORT",
        default_value_t = 0
    )]
    pub(crate) port: u16,
    /// How long a response takes
    #[arg(
        long,
        help_heading = "Simulator",
        value_name = "MS",
        default_value_t = 200
    )]
    pub(crate) latency_ms: u64,
    /// Go down this long after the first request, in seconds
    #[arg(long, help_heading = "Simulator", value_name = "SECS", value_parser = seconds_or_none)]
    pub(crate) down_from: Option<Duration>,
    /// Stay down this long, in seconds
    #[arg(long, help_heading = "Simulator", value_name = "SECS", value_parser = seconds)]
    pub(crate) down_for: Option<Duration>,
    /// Be down for the middle third of the run, with a second simulator to fall back to
    #[arg(long, help_heading = "Simulator", conflicts_with_all = ["base_url", "serve", "down_from", "down_for"])]
    pub(crate) outage: bool,
    /// Let some requests fail: with 500, 503 and 529, resets, stalls, and streams that begin with
    /// an error or break off
    #[arg(long, help_heading = "Simulator", conflicts_with = "base_url")]
    pub(crate) chaos: bool,
    /// Which of them --chaos lets fail
    #[arg(
        long,
        help_heading = "Simulator",
        value_name = "N",
        default_value_t = 1,
        requires = "chaos"
    )]
    pub(crate) chaos_seed: u64,
}

/// The shape of limits. Without docs on its variants, so that the help stays short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Window,
    Bucket,
}

const AFTER_HELP: &str = "\
Without any flag it shows what happens to the same prompts with and without this crate, against a simulated provider.

ideal_s is the least time that the known limits allow, the largest of
  answers(requests)                                      for what is in flight,
  k x window + answers(the requests that are left)       for each limit per window, of --kind window,
  max(0, n - limit) / limit x window + service           for each limit per window, of --kind bucket,
where answers(r) is max(service, r x service / c) for c in flight, or workers where there are fewer; n is the number of
requests (one: 1), or that of their tokens (one: those of one request on average): those used, where the provider counts
no more in the end, or else those reserved; k is floor((n - one) / limit), and left are those of the last n - k x limit.
service is how long an answer took on average, from when it was sent for to its end.

Exit codes: 0 all is well, also after Ctrl-C; 1 some requests failed for good; 2 a flag, file or URL is wrong.";

/// Reads the flags. What is wrong with them comes back as one line.
///
/// Asked for help, it prints that and ends the process.
pub(crate) fn parse() -> Result<Args, String> {
    Args::try_parse().map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
        _ => one_line(&error.to_string()),
    })
}

/// Whether nothing was asked for but, perhaps, the form of the report.
pub(crate) fn is_demo() -> bool {
    std::env::args_os().skip(1).all(|arg| arg == "--json")
}

/// clap's message without its usage and its pointer to the help.
fn one_line(message: &str) -> String {
    let lines = message.lines().map(str::trim);
    let telling = lines.filter(|line| {
        !line.is_empty() && !line.starts_with("Usage:") && !line.starts_with("For more information")
    });
    let line = telling.collect::<Vec<_>>().join(" ");
    let line = line.trim_start_matches("error: ");
    if line.contains(": give ") || line.contains(": use one of ") {
        return line.to_owned();
    }
    format!("{line}: see --help for what there is")
}
