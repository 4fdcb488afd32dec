//! The pages of the admin port.

use std::fmt::Write;
use std::sync::Arc;

use actix_web::http::header;
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Responder, web};
use portolan_config::Secret;
use portolan_exchange::{Fault, FaultKind};
use serde_json::json;

use crate::edge::admission::Refused;
use crate::gateway::Parts;
use crate::metrics::{counter, label};
use crate::policy::jwt::Total;

/// What the pages read, and who may read them.
pub struct Access {
    /// The gateway.
    pub parts: Arc<Parts>,
    /// What callers must show.
    pub token: Option<Secret>,
}

/// All pages by path.
pub fn routes(app: &mut web::ServiceConfig) {
    app.service(page("/livez", livez))
        .service(page("/readyz", readyz))
        .service(page("/metrics", metrics))
        .service(page("/routes", routes_page))
        .service(page("/actors", actors))
        .default_service(web::to(unknown));
}

/// A page that is read, by its head alone if one likes.
fn page<F, A>(path: &str, show: F) -> actix_web::Resource
where
    F: Handler<A>,
    F::Output: Responder + 'static,
    A: FromRequest + 'static,
{
    let (get, head) = (web::get().to(show.clone()), web::head().to(show));
    web::resource(path).route(get).route(head).default_service(web::to(other_method))
}

/// The process runs. Open to everyone: a probe has no token.
async fn livez() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "live": true }))
}

/// The gateway serves, and everything that keeps it serving runs. The word is open to everyone, since a probe has no token;
/// what stands behind it is for whoever has one.
async fn readyz(request: HttpRequest, access: web::Data<Access>) -> HttpResponse {
    let parts = &access.parts;
    let failed = parts.shared.control.registry().failed();
    let ready = !parts.plans.is_stopping() && failed.is_empty();
    let mut detail = json!({ "ready": ready });
    if access.is_open_to(&request) {
        let reloads = parts.reloads();
        detail = json!({
            "ready": ready,
            "stopping": parts.plans.is_stopping(),
            "failed_actors": failed,
            "configuration": {
                "reloads": reloads.succeeded,
                "refused": reloads.failed,
                "in_force": if reloads.problem.is_some() { "the last good one" } else { "the file" },
                "problem": reloads.problem,
                "waits_for_restart": reloads.waiting,
            },
        });
    }
    if ready { HttpResponse::Ok().json(detail) } else { HttpResponse::ServiceUnavailable().json(detail) }
}

async fn metrics(request: HttpRequest, access: web::Data<Access>) -> HttpResponse {
    guarded(&request, &access, || {
        let mut text = String::with_capacity(16 * 1024);
        access.parts.metrics.render(&mut text);
        render_shared(&mut text, &access.parts);
        HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text)
    })
}

async fn routes_page(request: HttpRequest, access: web::Data<Access>) -> HttpResponse {
    guarded(&request, &access, || {
        HttpResponse::Ok().json(json!({ "routes": access.parts.plans.current.load().routes }))
    })
}

async fn actors(request: HttpRequest, access: web::Data<Access>) -> HttpResponse {
    guarded(&request, &access, || {
        HttpResponse::Ok().json(json!({ "actors": access.parts.shared.control.registry().states() }))
    })
}

async fn unknown(request: HttpRequest) -> HttpResponse {
    let detail = format!("there is no `{}`; there are /livez, /readyz, /metrics, /routes and /actors", request.path());
    problem(&Fault::new(FaultKind::UnknownRoute, detail))
}

async fn other_method(request: HttpRequest) -> HttpResponse {
    let detail = format!("{} is not a method of `{}`", request.method(), request.path());
    let mut refused = problem(&Fault::new(FaultKind::MethodNotAllowed, detail));
    refused.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
    refused
}

impl Access {
    /// Whether the caller has shown the token, where one is asked for.
    fn is_open_to(&self, request: &HttpRequest) -> bool {
        let Some(token) = &self.token else { return true };
        let shown = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
        // The scheme is told without case (RFC 9110, section 11.1).
        let parts = shown.and_then(|value| value.split_at_checked(b"Bearer ".len()));
        let shown =
            parts.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer ")).map_or(&b""[..], |(_, token)| token);
        aws_lc_rs::constant_time::verify_slices_are_equal(shown, token.expose().as_bytes()).is_ok()
    }
}

fn guarded(request: &HttpRequest, access: &Access, page: impl FnOnce() -> HttpResponse) -> HttpResponse {
    if access.is_open_to(request) {
        return page();
    }
    let fault = Fault::new(FaultKind::CredentialsMissing, "the admin port wants `Authorization: Bearer TOKEN`");
    let mut refused = problem(&fault);
    let challenge = header::HeaderValue::from_static("Bearer realm=\"admin\"");
    refused.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    refused
}

fn problem(fault: &Fault) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(fault.kind().status()).expect("a fault has a status of HTTP");
    let id = uuid::Uuid::now_v7().simple().to_string();
    let body = fault.problem(&id).to_string();
    HttpResponse::build(status).content_type("application/problem+json").insert_header(("x-request-id", id)).body(body)
}

/// Metrics of what outlives plans: actors, the access log, reloads.
fn render_shared(out: &mut String, parts: &Parts) {
    let reloads = parts.reloads();
    counter(out, "portolan_reloads_total", "Configurations read anew, by result.", |out| {
        let _ = writeln!(out, "portolan_reloads_total{{result=\"ok\"}} {}", reloads.succeeded);
        let _ = writeln!(out, "portolan_reloads_total{{result=\"refused\"}} {}", reloads.failed);
    });
    counter(out, "portolan_access_log_lines_total", "Lines of the access log, by fate.", |out| {
        let _ = writeln!(out, "portolan_access_log_lines_total{{fate=\"written\"}} {}", parts.log.written());
        let _ = writeln!(out, "portolan_access_log_lines_total{{fate=\"dropped\"}} {}", parts.log.dropped());
    });
    render_room(out, parts);
    render_tokens(out, &parts.shared.token_counts());
    let actors = parts.shared.control.registry().counts();
    counter(out, "portolan_actor_restarts_total", "Restarts of actors.", |out| {
        for (kind, name, _, restarts) in &actors {
            let _ = writeln!(
                out,
                "portolan_actor_restarts_total{{kind=\"{}\",name=\"{}\"}} {restarts}",
                kind.as_str(),
                label(name)
            );
        }
    });
    let _ = writeln!(out, "# HELP portolan_actor_up Whether an actor runs.\n# TYPE portolan_actor_up gauge");
    for (kind, name, status, _) in &actors {
        let up = u8::from(*status == portolan_actors::supervision::Status::Running);
        let _ = writeln!(out, "portolan_actor_up{{kind=\"{}\",name=\"{}\"}} {up}", kind.as_str(), label(name));
    }
}

/// Metrics of the room that there is, and of what there was none for.
fn render_room(out: &mut String, parts: &Parts) {
    let admission = &parts.admission;
    counter(out, "portolan_requests_shed_total", "Requests that were refused because something was scarce.", |out| {
        let _ = writeln!(out, "portolan_requests_shed_total {}", admission.requests_shed());
    });
    counter(out, "portolan_connections_refused_total", "Connections that were closed at once, by reason.", |out| {
        for (listener, door) in &parts.doors {
            for (why, name) in
                [(Refused::Address, "address"), (Refused::Files, "files"), (Refused::Header, "proxy_header")]
            {
                let (listener, count) = (label(listener), door.refused(why));
                let _ = writeln!(
                    out,
                    "portolan_connections_refused_total{{listener=\"{listener}\",why=\"{name}\"}} {count}"
                );
            }
        }
    });
    let (memory, files) = (admission.memory(), admission.files());
    for (name, help, value) in [
        ("portolan_memory_used_bytes", "Bytes of heads and bodies held, and of the buffers for them.", memory.used),
        ("portolan_memory_budget_bytes", "How many of them there may be.", memory.limit),
        ("portolan_files_used", "Connections to clients and upstreams that are open.", files.used),
        ("portolan_files_budget", "How many of them there may be.", files.limit),
    ] {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    }
    let name = "portolan_shedding";
    let _ = writeln!(out, "# HELP {name} Whether requests are refused because this is scarce.\n# TYPE {name} gauge");
    for (what, level) in [("memory", memory), ("files", files)] {
        let _ = writeln!(out, "{name}{{scarce=\"{what}\"}} {}", u8::from(level.scarce));
    }
}

/// Metrics of the identities that take tokens.
fn render_tokens(out: &mut String, counts: &[(Arc<str>, Total)]) {
    counter(out, "portolan_tokens_total", "Tokens that were shown, by identity and fate.", |out| {
        for (name, total) in counts {
            let Total { remembered, verified, refused, limited, .. } = total;
            let fates =
                [("remembered", remembered), ("verified", verified), ("refused", refused), ("limited", limited)];
            for (fate, count) in fates {
                let name = label(name);
                let _ = writeln!(out, "portolan_tokens_total{{identity=\"{name}\",fate=\"{fate}\"}} {count}");
            }
        }
    });
    gauge(out, "portolan_tokens_remembered", "Tokens remembered, over all workers.", counts, |total| total.tokens);
    let bytes = "Bytes that remembered tokens take.";
    gauge(out, "portolan_tokens_remembered_bytes", bytes, counts, |total| total.bytes);
}

fn gauge(out: &mut String, metric: &str, help: &str, counts: &[(Arc<str>, Total)], of: impl Fn(&Total) -> u64) {
    let _ = writeln!(out, "# HELP {metric} {help}\n# TYPE {metric} gauge");
    for (name, total) in counts {
        let _ = writeln!(out, "{metric}{{identity=\"{}\"}} {}", label(name), of(total));
    }
}
