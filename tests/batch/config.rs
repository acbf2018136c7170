//! Several providers in a file, run as users run them.

use std::{process::Command, time::Duration};

use crate::{
    batch::{Folder, assert_each_answered_once, assert_refuses, batch, output, report, simulator},
    chaos::in_time,
    simulator::provider::{Chaos, Kind, Limits, Outage, Simulator},
    support::ms,
};

/// The batch with a file of these providers, each with what is said about it.
fn with_config(folder: &Folder, providers: &[(&Simulator, &str)]) -> Command {
    let mut text = String::new();
    for (n, (provider, settings)) in providers.iter().enumerate() {
        let url = provider.url();
        text += &format!("[[provider]]\nname = \"p{n}\"\nbase_url = \"{url}\"\n{settings}\n\n");
    }
    let path = folder.write("config.toml", &text);
    let mut command = batch();
    command.args(["--json", "--config"]).arg(path);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_providers_make_up_for_an_outage() {
    let limits = || Limits {
        requests: Some(60),
        window: ms(3_000),
        kind: Kind::Bucket,
        latency: ms(20),
        ..Limits::default()
    };
    // In 18 seconds each admits 420, and the one that is down for six of them 60 fewer: after three
    // seconds its bucket runs over.
    let (requests, ideal) = (780, 18.0);
    let outage = Outage {
        from: Duration::from_secs(6),
        lasts: Duration::from_secs(6),
    };
    let down = simulator(Limits {
        outage: Some(outage),
        ..limits()
    })
    .await;
    let up = simulator(limits()).await;
    let folder = Folder::new();
    let out = folder.path("out.jsonl");
    let settings = "rpm = 60\nwindow = 3\nkind = \"bucket\"\nlearn = false\nmodel = \"m\"";
    let mut command = with_config(&folder, &[(&down, settings), (&up, settings)]);
    command.args(["--requests", &requests.to_string(), "--out"]);
    command.arg(&out);
    let output = in_time(output(command)).await;

    assert_eq!(output.status.code(), Some(0));
    let report = report(&output);
    assert_eq!(report["failed"], 0);
    assert_each_answered_once(&out, requests);
    assert!(down.counters().unavailable > 0 && down.counters().accepted > 240);
    assert!(up.counters().accepted > 340);
    let elapsed = report["elapsed_s"].as_f64().unwrap();
    assert!(elapsed <= 1.15 * ideal, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_provider_makes_up_for_the_faults_of_another() {
    let limits = || Limits {
        requests: Some(50),
        window: ms(1_000),
        latency: ms(20),
        ..Limits::default()
    };
    let faulty = simulator(Limits {
        chaos: Some(Chaos::bad_day(1)),
        ..limits()
    })
    .await;
    let good = simulator(limits()).await;
    let folder = Folder::new();
    let out = folder.path("out.jsonl");
    let settings = "rpm = 50\nwindow = 1";
    let mut command = with_config(&folder, &[(&faulty, settings), (&good, settings)]);
    command.args(["--requests", "400", "--timeout", "2", "--stream", "--out"]);
    command.arg(&out);
    let output = in_time(output(command)).await;

    let report = report(&output);
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert_each_answered_once(&out, 400);
    assert!(report["attempts"].as_u64().unwrap() <= 500, "{report}");
    assert!(faulty.counters().accepted > 100 && good.counters().accepted > 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sample_file_works() {
    let sample = include_str!("../../examples/batch/config.toml");
    let mut simulators = Vec::new();
    let mut text = sample.to_owned();
    for (url, key) in [
        ("https://api.openai.com/v1", Some("openai's")),
        ("https://api.deepseek.com", Some("deepseek's")),
        ("http://localhost:8000/v1", None),
    ] {
        let simulator = simulator(Limits {
            key: key.map(str::to_owned),
            ..Limits::default()
        })
        .await;
        assert!(text.contains(url));
        text = text.replace(url, &simulator.url());
        simulators.push(simulator);
    }
    let folder = Folder::new();
    let path = folder.write("config.toml", &text);
    let mut command = batch();
    command
        .args(["--json", "--requests", "20", "--config"])
        .arg(&path);
    command.env("OPENAI_API_KEY", "openai's");
    command.env("DEEPSEEK_API_KEY", "deepseek's");
    let output = output(command).await;
    assert_eq!(report(&output)["succeeded"], 20);
}

#[test]
fn what_is_wrong_with_the_file_is_said_in_one_line() {
    let folder = Folder::new();
    let one = "[[provider]]\nname = \"a\"\nbase_url = \"http://localhost:1\"\n";
    for (text, says) in [
        ("", "missing field `provider`"),
        ("provider = []", "has 0 providers: give 1 to 64"),
        ("[[provider]\n", "line 1: "),
        (
            "[[provider]]\nname = \"a\"\n",
            "line 1: missing field `base_url`",
        ),
        (
            &format!("{one}rpn = 1"),
            "line 4: unknown field `rpn`, expected one of `name`",
        ),
        (
            &format!("{one}rpm = 0"),
            "line 4: invalid value: integer `0`",
        ),
        (
            &format!("{one}limits = \"x\""),
            "line 4: unknown provider \"x\": use one of",
        ),
        (
            &format!("{one}kind = \"x\""),
            "line 4: unknown variant `x`, expected `window` or",
        ),
        (
            &format!("{one}window = 0"),
            "line 4: give a number of seconds",
        ),
        (
            &format!("{one}api_key_env = \"NO_SUCH\""),
            "line 4: the environment variable \"NO_SUCH\"",
        ),
        (
            &format!("{one}\n{one}"),
            "two providers of the name \"a\": change one",
        ),
        (
            &one.replace("http:", "ftp:"),
            "line 1: base_url \"ftp://localhost:1\" is not a web",
        ),
        (
            &one.replace("localhost", "x.example"),
            "line 1: no key for http://x.example:1: name",
        ),
        (one, "cannot connect to"),
    ] {
        let path = folder.write("config.toml", text);
        let output = batch().arg("--config").arg(&path).output().unwrap();
        assert_refuses(&output, says);
    }
    let output = batch()
        .args(["--config", "/no/such/file"])
        .output()
        .unwrap();
    assert_refuses(&output, "cannot read --config /no/such/file");
}
