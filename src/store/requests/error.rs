//! What can go wrong with a request's record.

use std::path::Path;

use crate::core::ids::RequestId;
use crate::core::refusal::{Code, Refusal};
use crate::store::error::StoreError;

/// Why a request could not be read or changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// Somebody else was faster: the record is not what the change was made from.
    #[error("the request has changed meanwhile")]
    Conflict,
    /// The record is not what this program writes.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// A request of this id was filed before.
    #[error("a request of this id was filed before")]
    Exists,
    /// There is no such request in this workspace.
    #[error("there is no request `{0}`")]
    NotFound(RequestId),
    /// The step is not possible, or whoever decides about it said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The state folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A record that is not what this program writes.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the record of request `{request}` is damaged: {what}")]
pub struct Damaged {
    /// Which request, as the record has it.
    pub request: String,
    /// What is wrong with it, without quoting it.
    pub what: &'static str,
}

impl Damaged {
    /// The same in the words of the folder.
    pub(in crate::store) fn of_folder(self, path: &Path) -> StoreError {
        StoreError::Damaged {
            path: path.to_owned(),
            what: self.to_string(),
        }
    }
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        let message = error.to_string();
        match error {
            RequestError::Conflict => {
                Self::new(Code::RequestState, message).hint("look at the request again")
            }
            RequestError::Damaged(_) => Self::new(Code::Internal, message).hint(
                "tell the person who runs secondkey: somebody has changed the state folder by hand",
            ),
            RequestError::Exists => Self::new(Code::Internal, message).hint("make the call again"),
            RequestError::NotFound(_) => Self::new(Code::UnknownRequest, message)
                .hint("list the requests to see which there are"),
            RequestError::Refused(refusal) => refusal,
            RequestError::Store(error) => error.into(),
        }
    }
}
