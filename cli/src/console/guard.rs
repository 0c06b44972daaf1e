//! Access to the console: only with its token, and changes only from its own pages.
//!
//! A web page that the operator visits can send requests to 127.0.0.1, and can make its own name
//! resolve to it (DNS rebinding). So each request needs the right `Host`, a request that changes
//! something needs the right `Origin`, and all need the token. It comes with the first address and
//! is kept as a cookie.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use aws_lc_rs::{constant_time::verify_slices_are_equal, rand};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use maud::{DOCTYPE, html};

use super::{fields::Fields, server::Shared};

/// What a browser may load and run: files of the console only. So a script in a hostile payload
/// cannot run, even if a page failed to escape it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                                       img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The headers of every answer.
///
/// `Referrer-Policy` is not `no-referrer`: with that, browsers send `Origin: null` with a form,
/// which could not be told from another site's. No link leads away, and another site would get no
/// referrer either.
const HEADERS: [(header::HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// What is checked of each request.
pub(super) struct Guard {
    token: Token,
    /// For the browser that this command starts: other users of the machine may see the arguments
    /// of processes.
    once: Mutex<Option<Token>>,
    port: u16,
}

/// 128 random bits, in hexadecimal.
struct Token(String);

impl Token {
    fn random() -> anyhow::Result<Self> {
        let mut bytes = [0; 16];
        rand::fill(&mut bytes).ok().context("failed to make a random token")?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    fn is(&self, presented: &str) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), presented.as_bytes()).is_ok()
    }
}

impl Guard {
    /// A guard with a new token, for the console at this port.
    pub(super) fn new(port: u16) -> anyhow::Result<Self> {
        Ok(Self { token: Token::random()?, once: Mutex::new(Some(Token::random()?)), port })
    }

    /// The address that lets a browser in.
    pub(super) fn address(&self) -> String {
        self.address_with(&self.token)
    }

    /// An address that lets one browser in, once.
    pub(super) fn address_for_once(&self) -> String {
        let once = self.once.lock().unwrap_or_else(PoisonError::into_inner);
        once.as_ref().map_or_else(|| self.address(), |once| self.address_with(once))
    }

    fn address_with(&self, token: &Token) -> String {
        format!("http://127.0.0.1:{}/?token={}", self.port, token.0)
    }

    /// The cookie's name. Cookies are shared by all ports of a host, so two consoles need two
    /// names.
    fn cookie(&self) -> String {
        format!("callbacks-console-{}", self.port)
    }

    fn is_host(&self, headers: &HeaderMap) -> bool {
        let Some(host) = only(headers, header::HOST) else { return false };
        ["127.0.0.1", "localhost"].iter().any(|name| host == format!("{name}:{}", self.port))
    }

    /// Whether a page of this console asks for a change.
    fn is_origin(headers: &HeaderMap) -> bool {
        let (host, origin) = (only(headers, header::HOST), only(headers, header::ORIGIN));
        host.zip(origin).is_some_and(|(host, origin)| origin.strip_prefix("http://") == Some(host))
    }

    /// Whether a browser says that another site's page asks, other than by a link to it.
    fn is_cross_site(headers: &HeaderMap) -> bool {
        let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let is_link = said("sec-fetch-mode") == Some("navigate") && said("sec-fetch-dest") == Some("document");
        said("sec-fetch-site").is_some_and(|site| !["same-origin", "none"].contains(&site)) && !is_link
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let name = self.cookie();
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut cookies = lines.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
        cookies.any(|(known, token)| known == name && self.token.is(token))
    }

    /// Whether this token lets in. The one for once does so once.
    fn lets_in(&self, token: &str) -> bool {
        if self.token.is(token) {
            return true;
        }
        let mut once = self.once.lock().unwrap_or_else(PoisonError::into_inner);
        once.take_if(|once| once.is(token)).is_some()
    }

    /// The answer to a request, if it may not go on.
    fn answer(&self, request: &Request) -> Option<Response> {
        let (headers, method) = (request.headers(), request.method());
        if !self.is_host(headers) {
            return Some(refused("The address is not the console's: use the one that `callbacks console` printed."));
        }
        match *method {
            Method::GET | Method::HEAD if Self::is_cross_site(headers) => return Some(refused(ANOTHER_SITE)),
            Method::GET | Method::HEAD => {}
            Method::POST if Self::is_origin(headers) && !Self::is_cross_site(headers) => {}
            Method::POST => return Some(refused(ANOTHER_SITE)),
            _ => return Some(StatusCode::METHOD_NOT_ALLOWED.into_response()),
        }
        let path = request.uri().path();
        let query = Fields::parse(request.uri().query().unwrap_or_default().as_bytes());
        if *method == Method::GET
            && path == "/"
            && let Some(token) = query.get("token")
        {
            return Some(if self.lets_in(token) { self.enter(headers) } else { refused(NO_TOKEN) });
        }
        // The style sheet and the script are the same for everybody.
        let is_open = *method == Method::GET && super::server::ASSETS.iter().any(|(asset, ..)| *asset == path);
        (!is_open && !self.has_cookie(headers)).then(|| refused(NO_TOKEN))
    }

    /// Exchanges the token in the address for a cookie, and takes it out of the address.
    fn enter(&self, headers: &HeaderMap) -> Response {
        let cookie = format!("{}={}; Path=/; HttpOnly; SameSite=Strict", self.cookie(), self.token.0);
        // A browser that follows another site's link, such as that of a terminal in the web, would
        // follow a redirect without a strict cookie. A page that leads on is of this site.
        let mut response = if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
            let page = html! { (DOCTYPE) meta charset="utf-8"; meta http-equiv="refresh" content="0;url=/events"; };
            ([(header::CONTENT_TYPE, HTML)], page.into_string()).into_response()
        } else {
            (StatusCode::SEE_OTHER, [(header::LOCATION, "/events")]).into_response()
        };
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        response
    }
}

/// The one value of a header. None if it is not there, or there twice.
fn only(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

pub(super) const HTML: &str = "text/html; charset=utf-8";

const ANOTHER_SITE: &str = "Another site's page sent this request, so it was refused.";

const NO_TOKEN: &str = "This needs the console's token. Open the address that `callbacks console` printed as its first \
                        line: it is another one each time it starts.";

fn refused(why: &str) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { "403 · callbacks console" } link rel="stylesheet" href="/console.css"; }
            body { main { h1 { "Access denied" } p { (why) } } }
        }
    };
    (StatusCode::FORBIDDEN, [(header::CONTENT_TYPE, HTML)], page.into_string()).into_response()
}

/// Checks a request before anything else is done with it, and puts the headers on every answer.
pub(super) async fn check(State(console): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mut response = match console.guard.answer(&request) {
        Some(answer) => answer,
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    const PORT: u16 = 4580;

    fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request {
        let request = Request::builder().method(method).uri(uri);
        headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, *value))
            .body(Body::empty())
            .unwrap()
    }

    /// The status of the answer that a request gets from the guard; none if it may go on.
    #[track_caller]
    fn check(method: &str, uri: &str, headers: &[(&str, &str)], status: Option<u16>) {
        let guard = Guard::new(PORT).unwrap();
        let cookie = format!("theme=dark; callbacks-console-4580={}", guard.token.0);
        let uri = uri.replace("TOKEN", &guard.token.0);
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (*name, if *value == "COOKIE" { &*cookie } else { *value })).collect();
        let answer = guard.answer(&request(method, &uri, &headers));
        assert_eq!(answer.map(|answer| answer.status().as_u16()), status, "{method} {uri} {headers:?}");
    }

    const HOST: (&str, &str) = ("host", "127.0.0.1:4580");
    const COOKIE: (&str, &str) = ("cookie", "COOKIE");
    const ORIGIN: (&str, &str) = ("origin", "http://127.0.0.1:4580");

    #[test]
    fn the_token_and_the_host_let_in() {
        check("GET", "/events", &[HOST, COOKIE], None);
        check("GET", "/events", &[("host", "localhost:4580"), COOKIE], None);
        check("GET", "/events", &[HOST], Some(403));
        check("GET", "/?token=TOKEN", &[HOST], Some(303));
        check("GET", "/?token=TOKEN0", &[HOST], Some(403));
        check("GET", "/?token=0", &[HOST, COOKIE], Some(403));
        check("GET", "/?token=", &[HOST], Some(403));
        check("GET", "/events?token=TOKEN", &[HOST], Some(403));
        check("GET", "/console.css", &[HOST], None);
        for cookie in ["callbacks-console-4580=", "callbacks-console-4581=0", "callbacks-console-4580"] {
            check("GET", "/events", &[HOST, ("cookie", cookie)], Some(403));
        }
    }

    #[test]
    fn a_name_that_resolves_to_this_machine_is_not_the_consoles() {
        for host in
            ["evil.example.com:4580", "127.0.0.1", "127.0.0.1:80", "localhost:4580.example.com", "[::1]:4580", ""]
        {
            check("GET", "/events", &[("host", host), COOKIE], Some(403));
            check("GET", "/?token=TOKEN", &[("host", host)], Some(403));
            check("GET", "/console.css", &[("host", host)], Some(403));
        }
        check("GET", "/events", &[COOKIE], Some(403));
        check("GET", "/events", &[HOST, ("host", "evil.example.com"), COOKIE], Some(403));
    }

    #[test]
    fn another_site_changes_nothing() {
        check("POST", "/queues", &[HOST, COOKIE, ORIGIN], None);
        check("POST", "/queues", &[HOST, ORIGIN], Some(403));
        check("POST", "/queues?token=TOKEN", &[HOST, ORIGIN], Some(403));
        check("POST", "/?token=TOKEN", &[HOST, ORIGIN], Some(403));
        check("POST", "/queues", &[HOST, COOKIE], Some(403));
        let others =
            ["null", "http://localhost:4580", "http://127.0.0.1:8080", "https://127.0.0.1:4580", "http://example.com"];
        for origin in others {
            check("POST", "/queues", &[HOST, COOKIE, ("origin", origin)], Some(403));
        }
        check("POST", "/queues", &[HOST, COOKIE, ORIGIN, ("origin", "http://example.com")], Some(403));
        check("POST", "/queues", &[HOST, COOKIE, ORIGIN, ("sec-fetch-site", "cross-site")], Some(403));
        for method in ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"] {
            check(method, "/queues", &[HOST, COOKIE, ORIGIN], Some(405));
        }
    }

    /// The pages of other ports of this machine are of the same site, and so get the cookie sent.
    #[test]
    fn another_port_reads_nothing() {
        for site in ["same-site", "cross-site"] {
            check(
                "GET",
                "/events",
                &[HOST, COOKIE, ("sec-fetch-site", site), ("sec-fetch-mode", "no-cors")],
                Some(403),
            );
            let link = [("sec-fetch-site", site), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
            check("GET", "/events", &[&[HOST, COOKIE][..], &link].concat(), None);
            let frame = [("sec-fetch-site", site), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
            check("GET", "/events", &[&[HOST, COOKIE][..], &frame].concat(), Some(403));
        }
        check("GET", "/events", &[HOST, COOKIE, ("sec-fetch-site", "same-origin")], None);
    }

    #[test]
    fn a_link_of_another_site_with_the_token_leads_on_by_a_page_of_this_one() {
        let guard = Guard::new(PORT).unwrap();
        let link = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        let uri = guard.address().split_once(":4580").unwrap().1.to_owned();
        let answer = guard.answer(&request("GET", &uri, &[&[HOST][..], &link].concat())).unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.headers().contains_key("set-cookie") && !answer.headers().contains_key("location"));
    }

    #[test]
    fn the_address_for_once_lets_in_once() {
        let guard = Guard::new(PORT).unwrap();
        let address = guard.address_for_once();
        let enter = || guard.answer(&request("GET", address.split_once(":4580").unwrap().1, &[HOST])).unwrap();
        let first = enter();
        assert_eq!(
            (first.status(), &first.headers()["location"]),
            (StatusCode::SEE_OTHER, &"/events".parse().unwrap())
        );
        let cookie = first.headers()["set-cookie"].to_str().unwrap();
        assert_eq!(cookie, format!("callbacks-console-4580={}; Path=/; HttpOnly; SameSite=Strict", guard.token.0));
        assert_eq!(enter().status(), StatusCode::FORBIDDEN);
        assert_ne!(guard.address(), address);
    }
}
