//! The REST API as a client sees it.

use serde_json::Value;

#[derive(Clone)]
pub struct Api {
    base: String,
    token: String,
    client: reqwest::Client,
}

impl Api {
    pub fn new(base: &str, token: &str) -> Api {
        tidemill_service::install_tls();
        Api { base: base.into(), token: token.into(), client: reqwest::Client::new() }
    }

    /// GET a path below `/api/v2/`.
    pub async fn get(&self, path: &str) -> Result<Value, String> {
        let response = self.client.get(self.url(path)).send().await.map_err(|e| e.to_string())?;
        json(path, response).await
    }

    /// GET what only those with a token may read.
    pub async fn get_with_token(&self, path: &str) -> Result<Value, String> {
        let request = self.client.get(self.url(path)).bearer_auth(&self.token);
        json(path, request.send().await.map_err(|e| e.to_string())?).await
    }

    /// The list in an answer that has one collection.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>, String> {
        let answer = self.get(path).await?;
        let lists = answer.as_object().into_iter().flatten().filter(|(k, _)| *k != "meta");
        lists.filter_map(|(_, v)| v.as_array().cloned()).next().ok_or_else(|| format!("{path}: no list in {answer}"))
    }

    pub async fn bytes(&self, path: &str) -> Result<Vec<u8>, String> {
        let response = self.client.get(self.url(path)).send().await.map_err(|e| e.to_string())?;
        if !response.status().is_success() {
            return Err(format!("{path}: {}", response.status()));
        }
        Ok(response.bytes().await.map_err(|e| e.to_string())?.to_vec())
    }

    /// POST with the local token.
    pub async fn post(&self, path: &str, body: Value) -> Result<Value, String> {
        let request = self.client.post(self.url(path)).bearer_auth(&self.token).json(&body);
        json(path, request.send().await.map_err(|e| e.to_string())?).await
    }

    /// The same with a key that makes it once, however often it is sent.
    pub async fn post_once(&self, path: &str, body: Value, key: &str) -> Result<Value, String> {
        let request = self.client.post(self.url(path)).bearer_auth(&self.token).header("idempotency-key", key);
        json(path, request.json(&body).send().await.map_err(|e| e.to_string())?).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v2/{path}", self.base)
    }
}

async fn json(path: &str, response: reqwest::Response) -> Result<Value, String> {
    let status = response.status();
    let text = response.text().await.map_err(|e| e.to_string())?;
    if !status.is_success() {
        return Err(format!("{path}: {status} {text}"));
    }
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).map_err(|e| format!("{path}: {e} in {text}"))
}
