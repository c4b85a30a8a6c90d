//! What people follow from a mail. The masters answer: `/unsubscribe` checks the
//! same proof ([`tidemill_service::links`]).

use crate::app::App;
use tidemill_schema::notices::send::Delivery;
use tidemill_service::links;

/// Where the reader of this mail leaves its reporter.
pub fn unsubscribe(app: &App, url: &str, delivery: &Delivery) -> String {
    let address = crate::people::plain(&delivery.address);
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("address", &address)
        .append_pair("reporter", &delivery.reporter)
        .append_pair("proof", &links::proof(&app.link_key, &address, &delivery.reporter))
        .finish();
    format!("{url}/unsubscribe?{query}")
}
