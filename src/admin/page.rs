//! `GET /`: a page for browsers that shows the server live. It holds nothing of the server: its script asks the other routes,
//! with the token that its user types.

use super::{
    reply::{Reply, Response},
    request::Request,
    situation::Situation,
};

const PAGE: &str = include_str!("page.html");

/// The page's own script and style, named by their SHA-256, and nothing else from anywhere. A test compares the digests.
const POLICY: &str = "default-src 'none'; \
    script-src 'sha256-4RZLmfGsRodcayXDhIzpzpRUmZe9wBLGmXNnqsLloa8='; \
    style-src 'sha256-lxsJ+AEthsdhboVra8t88JOFlroMbiaQ/IKWVmFXABY='; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn page(_: &Request, _: &mut Situation<'_>) -> Reply {
    Response {
        status: 200,
        content_type: "text/html; charset=utf-8",
        body: PAGE.as_bytes().to_vec(),
        fields: vec![
            ("Content-Security-Policy", POLICY.to_owned()),
            ("X-Frame-Options", "DENY".to_owned()),
            ("Referrer-Policy", "no-referrer".to_owned()),
        ],
    }
    .into()
}
