//! Error answers as pages, for those who read pages.

use super::page::{Page, html};
use askama::Template;
use axum::body::to_bytes;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use tidemill_model::problem::Problem;

/// A problem document is small.
const PROBLEM_MAX: usize = 64 * 1024;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    page: Page,
    problem: Problem,
}

/// Whether the client prefers a page over a problem document: browsers do.
pub fn wants_page(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|a| a.to_str().ok()).is_some_and(|a| a.contains("text/html"))
}

/// The answer, as a page if it is a problem and the client wants pages.
pub async fn answer(response: Response, wants_page: bool) -> Response {
    let is_problem =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|t| t.as_bytes() == b"application/problem+json");
    if !wants_page || !is_problem {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let problem = to_bytes(body, PROBLEM_MAX).await.ok().and_then(|b| serde_json::from_slice::<Problem>(&b).ok());
    let Some(problem) = problem else { return parts.status.into_response() };
    let page = Page::anonymous(&problem.title);
    match html(&ErrorPage { page, problem }) {
        Ok(page) => {
            parts.headers.remove(header::CONTENT_LENGTH);
            let (page_parts, body) = page.into_parts();
            parts.headers.extend(page_parts.headers);
            Response::from_parts(parts, body)
        }
        Err(_) => parts.status.into_response(),
    }
}
