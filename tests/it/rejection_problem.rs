//! Refusals as problem details in JSON.

use std::convert::Infallible;

use http::{Request, Response};
use sfv::{BareItem, List, ListEntry, Parser};
use tower::{Layer, service_fn};
use tower_throttle::{Quota, SlidingWindowLayer, TokenBucketLayer, key, rejection::Problem};

use crate::support::call;

/// The names in a `RateLimit` field.
fn names<B>(response: &Response<B>) -> Vec<String> {
    let lines = response.headers().get_all("ratelimit").iter();
    let lines: Vec<&str> = lines.map(|line| line.to_str().unwrap()).collect();
    let list: List = Parser::new(&lines.join(", ")).parse().unwrap();
    let name = |entry: &ListEntry| match entry {
        ListEntry::Item(item) => match &item.bare_item {
            BareItem::String(name) => name.as_str().to_owned(),
            other => panic!("{other:?} is no name"),
        },
        ListEntry::InnerList(_) => panic!("a list within a list"),
    };
    list.iter().map(name).collect()
}

#[tokio::test(start_paused = true)]
async fn a_limit_has_the_same_name_in_the_problem_as_in_the_fields() {
    let layer = TokenBucketLayer::new(Quota::per_hour(1))
        .per(key::Global)
        .name("\"a\\b\", stündlich\r\n\u{7f}")
        .and("täglich", SlidingWindowLayer::new(Quota::per_day(1)))
        .respond_as(Problem);
    let mut server = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(String::new()))
    }));
    call(&mut server, Request::new(())).await.unwrap();
    let refused = call(&mut server, Request::new(())).await.unwrap();
    let problem: serde_json::Value = serde_json::from_str(refused.body()).unwrap();
    let named = names(&refused);
    assert_eq!(named, ["\"a\\b\", st__ndlich___", "t__glich"]);
    assert_eq!(problem["violated-policies"], serde_json::json!(named));
}
