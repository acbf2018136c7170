//! JSON that is no stream, and has an error under a 200.

use std::time::Duration;

use http_body_util::BodyExt;
use tokio::time::Instant;
use tower_throttle::{Outcome, StreamErrorLayer};

use super::{body, broken, diagnose, piece, response, stalled, text};

const JSON: &str = "application/json; charset=utf-8";
const ERROR: &str =
    "{\"error\":{\"message\":\"Provider returned error\",\"code\":429},\"user_id\":\"u\"}";

const ON: StreamErrorLayer = StreamErrorLayer::new().json(true);

async fn said(layer: StreamErrorLayer, text_of: &str, size: usize) -> (u16, Option<Outcome>) {
    let pieces = text_of.as_bytes().chunks(size).map(piece);
    let answer = diagnose(layer, response(200, JSON, body(pieces)))
        .await
        .unwrap();
    let said = (answer.status().as_u16(), answer.extensions().get().copied());
    assert_eq!(text(answer.into_body()).await, text_of);
    said
}

#[tokio::test(start_paused = true)]
async fn an_error_alone_is_one_where_the_layer_is_told_to_look() {
    for size in [1, 7, 1_000] {
        assert_eq!(
            said(StreamErrorLayer::new(), ERROR, size).await,
            (200, None)
        );
        assert_eq!(said(ON.json(false), ERROR, size).await, (200, None));
        let kind = Some(Outcome::RateLimited);
        assert_eq!(said(ON, ERROR, size).await, (429, kind));
        // As some keep a connection alive.
        assert_eq!(
            said(ON, &format!("\n \n\t{ERROR}\n"), size).await,
            (429, kind)
        );
    }
    for (error, expected) in [
        (
            r#"{"error":"rate limited"}"#,
            (429, Some(Outcome::RateLimited)),
        ),
        (
            r#"{"type":"error","error":{"type":"overloaded_error"}}"#,
            (529, Some(Outcome::Overloaded)),
        ),
        (
            r#"{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}"#,
            (429, Some(Outcome::QuotaExhausted)),
        ),
        (
            "\u{feff}{\"error\":{\"type\":\"overloaded_error\"}}",
            (529, Some(Outcome::Overloaded)),
        ),
        (
            r#"{"id":"g","choices":[],"error":{"code":502}}"#,
            (502, Some(Outcome::ServerError)),
        ),
        (
            r#"{"object":"chat.completion","choices":[{"error":{"code":502},"finish_reason":"error","message":{"role":"assistant","content":""}}]}"#,
            (502, Some(Outcome::ServerError)),
        ),
        (
            r#"{"object":"response","status":"failed","error":{"code":"server_error","message":"m"},"output":[]}"#,
            (500, Some(Outcome::ServerError)),
        ),
    ] {
        assert_eq!(said(ON, error, 1_000).await, expected, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_has_content_or_tells_of_something_else_passes() {
    for answer in [
        "",
        "{}",
        "null",
        "[]",
        "{\"error\":",
        "{\"error\":null,\"output\":[]}",
        "{\"error\":false}",
        "\"error\"",
        "[{\"error\":{\"code\":503}}]",
        "{\"choices\":[{\"message\":{\"content\":\"Hi\"}}],\"error\":{\"code\":502}}",
        "{\"choices\":[{\"text\":\"Hi\"}],\"error\":{\"code\":502}}",
        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hi\"}]}}],\"error\":{\"code\":502}}",
        "{\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}],\"error\":{\"code\":502}}",
        "{\"message\":{\"content\":\"Hi\"},\"error\":\"late\"}",
        "{\"object\":\"response\",\"error\":{\"code\":\"server_error\"},\"output\":[{\"type\":\"function_call\",\"name\":\"f\"}]}",
        "{\"object\":\"fine_tuning.job\",\"status\":\"failed\",\"error\":{\"code\":\"invalid_training_file\"}}",
        "{\"name\":\"operations/1\",\"done\":true,\"error\":{\"code\":13}}",
    ] {
        assert_eq!(said(ON, answer, 1_000).await, (200, None), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_object_or_too_slow_or_too_large_is_not_held_back() {
    for (first, layer, seconds) in [
        ("[", ON, 0),
        ("  \n[", ON, 0),
        ("x", ON, 0),
        ("{", ON, 30),
        (" ", ON, 30),
        ("{", ON.patience(Duration::from_secs(2)), 2),
    ] {
        let start = Instant::now();
        let answer = diagnose(layer, response(200, JSON, stalled([piece(first)]))).await;
        let answer = answer.unwrap();
        assert_eq!(start.elapsed().as_secs(), seconds, "{first}");
        let frame = answer.into_body().frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), first);
    }
    let large = format!("{}{ERROR}", " ".repeat(64 * 1024));
    assert_eq!(said(ON, &large, 1_000).await, (200, None));
    let fits = format!("{}{ERROR}", " ".repeat(64 * 1024 - ERROR.len()));
    assert_eq!(said(ON, &fits[1..], 1_000).await.0, 429);

    // Of a body of one frame, too, of which the part that is read would be an error by itself.
    let large = format!("{ERROR}{}{{\"answer\":1}}", " ".repeat(64 * 1024));
    let whole = http_body_util::Full::from(large.clone());
    let whole = whole.map_err(|never| match never {}).boxed_unsync();
    let answer = diagnose(ON, response(200, JSON, whole)).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(text(answer.into_body()).await, large);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_is_a_broken_attempt() {
    let answer = response(200, JSON, body([piece("{"), broken()]));
    let error = diagnose(ON, answer).await.unwrap_err();
    assert_eq!(Outcome::of_error(&error), Some(Outcome::Interrupted));
}
