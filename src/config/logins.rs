//! `[targets.NAME.logins.EFFECT]`: logins of a target for what asks for more than reading.

use std::collections::BTreeMap;
use std::path::Path;

use secrecy::SecretString;

use crate::config::database_url::DatabaseUrl;
use crate::config::meant::Reading;
use crate::config::written::WrittenLogin;
use crate::core::statement::Effect;

impl Reading<'_> {
    /// The target's URL with each of its further logins.
    pub(super) fn logins(
        &mut self,
        written: &[WrittenLogin],
        url: &DatabaseUrl,
        folder: &Path,
    ) -> BTreeMap<Effect, SecretString> {
        let each = written.iter().filter_map(|login| {
            let effect = self.login_effect(login);
            let password = login.password.as_ref();
            let password = password.map(|at| self.password(at, folder));
            let (effect, user) = (effect?, login.user.as_ref()?);
            let mut url = url.clone();
            let set = url.set_user(&user.value).and_then(|()| match password {
                Some(Some(password)) => url.set_password(&password),
                Some(None) | None => Ok(()),
            });
            match set {
                Ok(()) => Some((effect, url.into_secret())),
                Err((message, hint)) => {
                    self.problem(&user.place, message, hint);
                    None
                }
            }
        });
        each.collect()
    }

    fn login_effect(&mut self, login: &WrittenLogin) -> Option<Effect> {
        let found = match login.effect.value.as_str() {
            "write" => Some(Effect::Write),
            "schema" => Some(Effect::Schema),
            "admin" => Some(Effect::Admin),
            _ => None,
        };
        if found.is_none() {
            self.problem(
                &login.effect.place,
                format!(
                    "there is no login for `{}`",
                    login.effect.value.escape_debug()
                ),
                "the effects are `write`, `schema` and `admin`; reads use the login of the `url`",
            );
        }
        found
    }
}
