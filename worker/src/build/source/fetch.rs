//! What a step fetches from the masters under the build's lease.

use super::{Flow, Halt, Tool};
use crate::build::step::StepError;
use std::time::Duration;
use tidemill_model::Patch;
use tidemill_model::problem::kinds;
use tidemill_model::wire::PatchRequest;
use tidemill_service::Backoff;

impl Tool<'_, '_> {
    /// The body of a patch. Waits for a master as long as it takes; only an order
    /// or a refusal ends that.
    pub(super) async fn patch_body(&mut self, patch: &Patch) -> Flow<Vec<u8>> {
        let claim = self.step.site.claim;
        let wanted = PatchRequest { build: claim.build, token: claim.token.clone(), patch: patch.id };
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        loop {
            let shared = self.step.shared.clone();
            let answer = shared.client.patch(&wanted).await;
            match answer {
                Ok(body) if patch.is_of(&body) => return Ok(body),
                Ok(_) => return Err(StepError::Other("the patch that came is not the one of this build".into()).into()),
                Err(error) if error.kind() == Some(kinds::LEASE_LOST) => return Err(Halt::Over),
                Err(error) if matches!(error.kind(), Some(k) if k != kinds::UNAVAILABLE) => {
                    return Err(StepError::Other(format!("the master does not give the patch: {error}")).into());
                }
                Err(error) => {
                    self.log.header(&format!("cannot fetch the patch ({error}); trying again\n"));
                    self.pause(backoff.wait()).await?;
                }
            }
        }
    }
}
