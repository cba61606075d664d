//! The description for programs, made of the table of routes.
//!
//! Nothing comes in, a document of `OpenAPI` 3.1 goes out. What stands in an answer is said in `docs/json.md`, because it is
//! what the commands print; here it is named by the command.

use serde_json::{Map, Value, json};

use crate::routes::{ROUTES, Route, Shows};

/// Returns the description.
pub(crate) fn document() -> Value {
    let paths: Map<String, Value> =
        ROUTES.iter().map(|route| (route.path.to_owned(), json!({"get": get(route)}))).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Muster",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What `muster` prints with `--json`, over HTTP. It only shows: GET and HEAD. Requests must \
                            name this host (`Host: localhost`).",
        },
        "paths": paths,
        "components": {"schemas": {"Error": {
            "type": "object",
            "required": ["outcome", "error"],
            "properties": {
                "outcome": {"const": "failed"},
                "error": {
                    "type": "object",
                    "required": ["error", "kind"],
                    "properties": {
                        "error": {"type": "string"},
                        "causes": {"type": "array", "items": {"type": "string"}},
                        "hint": {"type": "string"},
                        "kind": {"type": "string"},
                    },
                },
            },
        }}},
    })
}

fn get(route: &Route) -> Value {
    let content_type = match route.shows {
        Shows::Metrics => "text/plain",
        Shows::Dashboard | Shows::RunPage => "text/html",
        Shows::Events => "text/event-stream",
        Shows::File(content_type, _) => content_type.split(';').next().unwrap_or(content_type),
        _ => "application/json",
    };
    let schema = if content_type == "application/json" {
        json!({"type": "object"})
    } else {
        json!({"type": "string"})
    };
    let mut responses = Map::new();
    responses.insert(
        "200".into(),
        json!({"description": route.summary, "content": {content_type: {"schema": schema}}}),
    );
    for (status, when) in refusals(route.shows) {
        let content = json!({"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}});
        let content = if route.shows == Shows::RunPage {
            json!({"text/html": {"schema": {"type": "string"}}})
        } else {
            content
        };
        responses.insert((*status).to_owned(), json!({"description": when, "content": content}));
    }
    let mut document = json!({"summary": route.summary, "responses": responses});
    let parameters = parameters(route);
    if !parameters.is_empty() {
        document["parameters"] = parameters.into();
    }
    document
}

fn refusals(shows: Shows) -> &'static [(&'static str, &'static str)] {
    const LATER: (&str, &str) = ("503", "It is not known now; the error says why");
    match shows {
        Shows::Runs => &[("400", "`limit` cannot be meant"), LATER],
        Shows::Run | Shows::RunPage => &[("404", "There is no such run"), LATER],
        Shows::Checks => &[("404", "The configuration has no checks"), LATER],
        Shows::Ready | Shows::Metrics | Shows::Status | Shows::Backups | Shows::Summary | Shows::Events => {
            &[LATER]
        }
        Shows::Health | Shows::OpenApi | Shows::Dashboard | Shows::File(..) => &[],
    }
}

fn parameters(route: &Route) -> Vec<Value> {
    let mut parameters = Vec::new();
    if route.path.contains("{id}") {
        let schema = json!({"type": "string"});
        parameters.push(json!({"name": "id", "in": "path", "required": true, "schema": schema, "description": "The run's id"}));
    }
    if route.shows == Shows::Runs {
        let schema = json!({"type": "integer", "minimum": 1, "maximum": 500, "default": 20});
        parameters.push(
            json!({"name": "limit", "in": "query", "schema": schema, "description": "At most this many"}),
        );
    }
    parameters
}
