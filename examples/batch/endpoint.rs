//! Where requests go: a base URL, a key, and a client for them.

use std::{env, net::IpAddr, time::Duration};

use anyhow::{Context, Result, bail};
use reqwest::{
    Client, Method, Request, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::jobs::Job;

/// One provider's address, and one account with it.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    base: Url,
    key: Option<HeaderValue>,
    /// Asked for in place of what the request says.
    pub(crate) model: Option<String>,
}

// ===== impl Endpoint =====

impl Endpoint {
    /// Checks what the user gave; `flag` is what to call it in an error.
    pub(crate) fn new(flag: &str, url: &str, key: Option<&str>) -> Result<Self> {
        let parsed = Url::parse(url).ok();
        // Neither message shows what may be a password.
        let has_user = |url: &Url| !url.username().is_empty() || url.password().is_some();
        if parsed.as_ref().is_some_and(has_user) || (parsed.is_none() && url.contains('@')) {
            bail!("{flag} has a user name or a password in it: leave it out, and give an API key");
        }
        let web = parsed.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let mut base = web.with_context(|| {
            format!("{flag} {url:?} is not a web address: give one like https://api.openai.com/v1")
        })?;
        let path = base.path().trim_end_matches('/');
        let path = path.strip_suffix("/chat/completions").unwrap_or(path);
        let path = if path.is_empty() { "/v1" } else { path }.to_owned();
        base.set_path(&path);
        let key = key.filter(|key| !key.trim().is_empty());
        let key = key.map(|key| HeaderValue::try_from(format!("Bearer {}", key.trim())));
        let mut key = key.transpose().ok().with_context(|| {
            format!("the API key for {flag} has characters that a header cannot have: check it")
        })?;
        if let Some(key) = &mut key {
            key.set_sensitive(true);
        }
        Ok(Self {
            base,
            key,
            model: None,
        })
    }

    /// Asks for `model`, whatever a request that is [redirected](Endpoint::redirect) says.
    pub(crate) fn with_model(mut self, model: Option<String>) -> Self {
        self.model = model;
        self
    }

    /// Whether it is on this machine: then it needs no key, and no proxy can reach it.
    pub(crate) fn is_local(&self) -> bool {
        let address = self.host().parse::<IpAddr>();
        self.host() == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    fn host(&self) -> &str {
        let host = self.base.host_str().unwrap_or_default();
        host.trim_matches(['[', ']'])
    }

    pub(crate) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// A client for it. How long an attempt may take is a matter of the layers.
    pub(crate) fn client(&self) -> Result<Client> {
        let mut builder = Client::builder()
            // A redirect would be followed outside of the limits, with the key in hand.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .user_agent(concat!("tower-throttle/", env!("CARGO_PKG_VERSION")));
        if self.is_local() {
            builder = builder.no_proxy();
        }
        builder.build().context("cannot set up the HTTP client")
    }

    /// Whether anyone is there. Sends nothing, so no limit counts it.
    pub(crate) async fn reach(&self) -> Result<()> {
        let is_set = |name: &str| env::var_os(name).is_some();
        let proxied = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]
            .iter()
            .any(|name| is_set(name) || is_set(&name.to_lowercase()));
        if proxied && !self.is_local() {
            return Ok(());
        }
        let port = self.base.port_or_known_default().unwrap_or(443);
        let connect = TcpStream::connect((self.host(), port));
        let connected = tokio::time::timeout(Duration::from_secs(10), connect).await;
        let base = &self.base;
        let failed = || format!("cannot connect to {base}: check the URL and the network");
        connected.with_context(failed)?.with_context(failed)?;
        Ok(())
    }

    /// The request that asks for `job`.
    pub(crate) fn request(&self, job: &Job) -> Request {
        let mut request = Request::new(Method::POST, self.url(&job.url));
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.authorize(&mut request);
        *request.body_mut() = Some(job.body.to_string().into());
        request
    }

    /// Sends a request of `first`'s here instead, without showing this provider the other one's
    /// key.
    pub(crate) fn redirect(&self, first: &Self, mut request: Request) -> Request {
        let path = request.url().path();
        let url = self.url(behind(path, first.base.path()));
        *request.url_mut() = url;
        self.authorize(&mut request);
        if let Some(model) = &self.model {
            let body = request.body().and_then(|body| body.as_bytes());
            if let Some(Ok(mut body)) = body.map(serde_json::from_slice::<Value>) {
                body["model"] = model.as_str().into();
                *request.body_mut() = Some(body.to_string().into());
            }
        }
        request
    }

    /// The base is where `/v1` is, so a path doesn't say it again.
    fn url(&self, path: &str) -> Url {
        let path = behind(path, "/v1");
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path()));
        url
    }

    fn authorize(&self, request: &mut Request) {
        match &self.key {
            Some(key) => request.headers_mut().insert(AUTHORIZATION, key.clone()),
            None => request.headers_mut().remove(AUTHORIZATION),
        };
    }
}

/// What of a path comes behind these whole parts, if it begins with them.
fn behind<'a>(path: &'a str, parts: &str) -> &'a str {
    let rest = path.strip_prefix(parts);
    let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with('/'));
    rest.unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::new("the URL", url, None).unwrap()
    }

    #[test]
    fn a_path_is_put_behind_the_base_without_the_version_that_both_have() {
        for (base, path, is) in [
            ("http://a", "/v1/embeddings", "http://a/v1/embeddings"),
            ("http://a/v1/", "/v1/embeddings", "http://a/v1/embeddings"),
            (
                "http://a/api/v1",
                "/embeddings",
                "http://a/api/v1/embeddings",
            ),
            ("http://a/api", "/v1beta/chat", "http://a/api/v1beta/chat"),
            ("http://a/v1", "/v1beta/chat", "http://a/v1/v1beta/chat"),
            ("http://a/p?v=1", "/v1/chat", "http://a/p/chat?v=1"),
        ] {
            assert_eq!(endpoint(base).url(path).as_str(), is);
        }
    }

    #[test]
    fn what_goes_elsewhere_has_the_path_of_there() {
        for (first, path, backup, is) in [
            (
                "http://a/v1",
                "/v1/chat",
                "http://b/api",
                "http://b/api/chat",
            ),
            ("http://a/x", "/v1/chat", "http://b", "http://b/v1/chat"),
            ("http://a/x", "/xy", "http://b/api", "http://b/api/xy"),
        ] {
            let (first, backup) = (endpoint(first), endpoint(backup));
            let request = Request::new(Method::POST, first.url(path));
            assert_eq!(backup.redirect(&first, request).url().as_str(), is);
        }
    }
}
