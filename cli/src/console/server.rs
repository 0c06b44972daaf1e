//! The server: what is served where.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::Context as _;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::header,
    middleware,
    response::IntoResponse,
    routing::{get, post},
};
use runtime::DynamoCourses;
use tokio::{net::TcpListener, sync::Mutex};

use super::{
    again, event, events,
    guard::{self, Guard},
    live::{self, Live},
    page::{self, Problem},
    play, providers, queues, verification,
};
use crate::{
    events::Events,
    parsers::{Parser, parsers},
    stack::{Connections, Stack},
};

/// A console that listens, and does not answer yet.
pub struct Server {
    listener: TcpListener,
    console: Arc<Shared>,
}

/// What all pages share.
pub(super) struct Shared {
    pub(super) stack: Stack,
    /// The stack's name in CloudFormation, for a deployed one.
    pub(super) name: Option<String>,
    pub(super) connections: Connections,
    pub(super) guard: Guard,
    pub(super) live: Live,
    /// Held by what changes something, so that one thing is done after the other.
    pub(super) acting: Mutex<()>,
}

impl Shared {
    /// The events table. What one request skips is counted for it alone.
    pub(super) fn events(&self) -> Events {
        Events::with(&self.stack, &self.connections)
    }

    /// Whether it is a local stack.
    pub(super) fn is_local(&self) -> bool {
        self.name.is_none() && self.stack.endpoint_url.is_some()
    }

    /// The verifications table.
    pub(super) fn courses(&self) -> DynamoCourses {
        DynamoCourses::new(self.connections.dynamodb.clone(), self.stack.verifications_table.clone())
    }

    /// The providers of this stack.
    pub(super) fn providers(&self) -> Vec<String> {
        let is_there = |parser: &&Parser| self.stack.routes.contains_key(parser.function);
        let parsers = parsers();
        let providers: BTreeSet<&str> = parsers.iter().filter(is_there).map(|parser| parser.provider).collect();
        providers.into_iter().map(str::to_owned).collect()
    }

    /// What a command needs to be about this stack.
    pub(super) fn target(&self) -> String {
        self.name.as_ref().map(|name| format!(" --stack {}", shell_words::quote(name))).unwrap_or_default()
    }
}

/// The port that is tried first.
const PORT: u16 = 4580;

/// How large a form may be.
const MAX_FORM_BYTES: usize = 16 * 1024;

/// Paths, types and contents of the files that the pages need.
pub(super) const ASSETS: [(&str, &str, &str); 2] = [
    ("/console.css", "text/css; charset=utf-8", include_str!("console.css")),
    ("/console.js", "text/javascript; charset=utf-8", include_str!("console.js")),
];

impl Server {
    /// Listens on 127.0.0.1, at this port or at a free one.
    ///
    /// # Errors
    /// If the port is in use.
    pub async fn bind(stack: Stack, name: Option<String>, port: Option<u16>) -> anyhow::Result<Self> {
        let bind = |port: u16| TcpListener::bind(("127.0.0.1", port));
        let listener = match port {
            Some(port) => {
                bind(port).await.with_context(|| format!("failed to listen on port {port}: is it in use?"))?
            }
            None => match bind(PORT).await {
                Ok(listener) => listener,
                Err(_) => bind(0).await.context("failed to listen on 127.0.0.1")?,
            },
        };
        let guard = Guard::new(listener.local_addr().context("failed to listen on 127.0.0.1")?.port())?;
        let connections = stack.connect().await;
        Ok(Self {
            listener,
            console: Arc::new(Shared {
                stack,
                name,
                connections,
                guard,
                live: Live::default(),
                acting: Mutex::default(),
            }),
        })
    }

    /// The address that lets a browser in, token included.
    #[must_use]
    pub fn address(&self) -> String {
        self.console.guard.address()
    }

    /// An address that lets one browser in, once.
    #[must_use]
    pub fn address_for_once(&self) -> String {
        self.console.guard.address_for_once()
    }

    /// Answers until this is dropped.
    ///
    /// # Errors
    /// If the system does not accept connections any more.
    pub async fn serve(self) -> anyhow::Result<()> {
        let Self { listener, console } = self;
        let mut router = Router::new()
            .route("/", get(|| async { page::redirect("/events") }))
            .route("/events", get(events::page))
            .route("/live", get(live::stream))
            .route("/event", get(event::page))
            .route("/event/payload", post(event::payload))
            .route("/verification", get(verification::page))
            .route("/providers", get(providers::page))
            .route("/queues", get(queues::page))
            .route("/queues/look", post(queues::look))
            .route("/queues/redrive", post(queues::redrive))
            .route("/again/{what}", post(again::page))
            .route("/play", get(play::page).post(play::send));
        for (path, content_type, content) in ASSETS {
            router = router.route(path, get(move || async move { asset(content_type, content) }));
        }
        let router = router
            .fallback(|| async { Problem::missing("There is no such page.") })
            .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
            .layer(middleware::from_fn_with_state(Arc::clone(&console), guard::check))
            .with_state(Arc::clone(&console));
        tokio::select! {
            served = axum::serve(listener, router) => served.context("failed to accept connections"),
            never = live::watch(console) => match never {},
        }
    }
}

fn asset(content_type: &'static str, content: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, content_type)], content)
}
