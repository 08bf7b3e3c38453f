//! The keys of `[log]` that workers take up while they run.

use crate::harness::{APP, Setup, eventually};

const ROUTES: &str = r#"
def route_id(environ, start_response, query):
    return answer(start_response, environ.get("rgunicorn.request_id", "(none)"))
"#;

#[test]
fn what_is_logged_and_how_changes_without_a_new_worker() {
    for class in ["sync", "gevent"] {
        let class = format!("worker_class = '{class}'");
        let server = Setup::with(&format!("{class}\n[log]\nformat = '%(U)s %(request_id)s'"))
            .app(&format!("{APP}{ROUTES}"))
            .start();
        let worker = server.worker();
        assert_ne!(server.text("/id"), "(none)", "the access log shows it");
        server.edit(&format!("{class}\n[log]\nformat = '%(U)s'"));
        server.applied();
        assert_eq!(server.text("/id"), "(none)");
        server.edit(&format!(
            "{class}\n[log]\nformat = '%(U)s'\nexclude = '/healthz'\nrequest_id_response = true\nslow = '200ms'"
        ));
        server.applied();
        let response = server.get("/healthz");
        assert_eq!(response.field("X-Request-ID").unwrap().len(), 32);
        server.text("/sleep?s=0.5");
        server.says("slow: GET /sleep?s=0.5");
        server.says("in route_sleep");
        server.edit(&format!(
            "{class}\n[log]\nformat = '%(U)s'\nerror_format = 'json'"
        ));
        eventually("it is applied", || {
            server.has_said("\"message\":\"reload=3 done")
        });
        assert_eq!(server.get("/healthz").field("X-Request-ID"), None);
        server.get("/error");
        server.says(
            "\"role\":\"worker\" … \"message\":\"the app failed on GET /error\" … on purpose",
        );
        assert_eq!(server.worker(), worker);
        eventually("the last line is there", || {
            server.printed().ends_with("/error\n/pid")
        });
        assert_eq!(server.printed().matches("/healthz").count(), 1);
    }
}
