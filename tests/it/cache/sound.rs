//! Answers under a good status that are none.

use http::{Request, StatusCode};

use super::{cache, keeping::is_kept, post, text, with};

#[tokio::test(start_paused = true)]
async fn an_answer_that_says_nothing_at_all_is_not_kept() {
    for (media_type, bodies) in [
        (
            "text/event-stream",
            &[
                "",
                "\n",
                ": keep-alive\n\n: keep-alive\n\n",
                "event: ping\n\n",
            ][..],
        ),
        ("application/json", &["", "\n\n\n", "  "][..]),
    ] {
        for body in bodies {
            let answer = with(text(*body), &[("content-type", media_type)]);
            let kept = is_kept(&cache(), &post("{}"), answer).await;
            assert!(!kept, "{media_type} {body:?}");
        }
        let empty = [("content-type", media_type), ("content-length", "0")];
        assert!(!is_kept(&cache(), &post("{}"), with(text(""), &empty)).await);
        let head = Request::head("/v1/models").body(String::new()).unwrap();
        let answer = with(
            text(""),
            &[("content-type", media_type), ("content-length", "7")],
        );
        assert!(is_kept(&cache(), &head, answer).await);
        let layer = cache().statuses([StatusCode::NO_CONTENT]);
        let mut answer = with(text(""), &[("content-type", media_type)]);
        *answer.status_mut() = StatusCode::NO_CONTENT;
        assert!(is_kept(&layer, &post("{}"), answer).await);
    }
    assert!(is_kept(&cache(), &post("{}"), text("\n")).await);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_wrapped_in_something_is_found() {
    const ERROR: &str = r#"{"error": {"code": 500}}"#;
    let event = format!("data: {ERROR}\n\n");
    for (headers, body) in [
        // Not encoded at all.
        (&[("content-encoding", "identity")][..], ERROR.to_owned()),
        (&[("content-encoding", "")][..], ERROR.to_owned()),
        // Under a wrong name, or none.
        (
            &[("content-type", "text/event-stream")][..],
            format!("{ERROR}\n"),
        ),
        (&[("content-type", "text/plain")][..], event.clone()),
        (&[][..], event.clone()),
        (&[][..], format!("event: x\n{event}")),
        // Behind a byte order mark.
        (&[][..], format!("\u{feff}{ERROR}")),
        (
            &[("content-type", "text/event-stream")][..],
            format!("\u{feff}{event}"),
        ),
        // In several lines.
        (
            &[("content-type", "text/event-stream")][..],
            "data: {\r\ndata: \"error\": {\"code\": 1\r\ndata: }}\r\n\r\n".to_owned(),
        ),
    ] {
        let answer = with(text(body.clone()), headers);
        let kept = is_kept(&cache(), &post("{}"), answer).await;
        assert!(!kept, "{headers:?} {body:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_is_the_same_for_the_cache_as_for_a_retry() {
    for (body, expected) in [
        (r#"{"object": "error", "message": "x", "code": 500}"#, false),
        (
            r#"{"choices": [{"index": 0}, {"error": {"code": 502}}]}"#,
            false,
        ),
        (r#"{"choices": [{"finish_reason": "error"}]}"#, false),
        (
            r#"{"response": {"status": "failed", "error": {"code": "x"}}}"#,
            false,
        ),
        (
            r#"{"choices": [{"finish_reason": "stop", "error": null}]}"#,
            true,
        ),
        (r#"{"choices": [{"message": {"error": 1}}]}"#, true),
        (r#"{"response": {"error": null}, "choices": null}"#, true),
        (r#"{"response": "text", "choices": 1}"#, true),
    ] {
        let json = with(text(body), &[("content-type", "application/json")]);
        let kept = is_kept(&cache(), &post("{}"), json).await;
        assert_eq!(kept, expected, "{body}");
        let events = text(format!("data: {body}\n\ndata: [DONE]\n\n"));
        let events = with(events, &[("content-type", "text/event-stream")]);
        let kept = is_kept(&cache(), &post("{}"), events).await;
        assert_eq!(kept, expected, "{body}");
    }
    let nested = format!("{}1{}", "{\"response\":".repeat(50_000), "}".repeat(50_000));
    assert!(is_kept(&cache(), &post("{}"), text(nested)).await);
}
