//! Random calls, clock jumps and restarts through two handles, against a model that knows nothing of
//! the code: no state that the model does not have, no double run, no lost entry.

use proptest::prelude::*;

use super::*;

/// What the model knows of one request.
#[derive(Clone, Debug)]
struct Simple {
    status: &'static str,
    /// When time moves it on.
    due: i64,
    until: i64,
    voted: Vec<u8>,
    token: u8,
    version: u64,
    begun: u32,
    /// Whether it breaks the glass.
    glass: bool,
    review: &'static str,
    entries: Vec<&'static str>,
}

/// The requests of the model, one of which breaks the glass.
const NUMBERS: [u8; 3] = [1, 2, GLASS];
const HOUR: i64 = 3_600_000;
const NEVER: i64 = i64::MAX;

impl Simple {
    fn filed(number: u8, now: i64) -> Self {
        Self {
            status: "pending",
            due: now + 24 * HOUR,
            until: 0,
            voted: vec![],
            token: 0,
            version: 2,
            begun: 0,
            glass: number == GLASS,
            review: "",
            entries: vec!["request.submitted", "request.pending"],
        }
    }

    fn to(&mut self, status: &'static str, due: i64, entry: &'static str) {
        (self.status, self.due) = (status, due);
        self.entries.push(entry);
    }

    /// What time does; whether it did anything.
    fn tick(&mut self, now: i64) -> bool {
        let mut moved = false;
        while self.due <= now {
            moved = true;
            match self.status {
                "dispatched" => self.to("approved", self.until, "request.lapsed"),
                "running" => self.to("unknown", NEVER, "execution.unknown"),
                _ => self.to("expired", NEVER, "request.expired"),
            }
        }
        moved
    }

    /// What time does, recorded as one step.
    fn recorded(&mut self, now: i64) {
        if self.tick(now) {
            self.version += 1;
        }
    }

    fn vote(&mut self, signer: u8, yes: bool, now: i64) -> bool {
        self.recorded(now);
        if self.status != "pending" || self.voted.contains(&signer) {
            return false;
        }
        self.voted.push(signer);
        self.version += 1;
        self.entries.push("vote.cast");
        if !yes {
            self.to("rejected", NEVER, "request.rejected");
        } else if self.voted.len() == if self.glass { 1 } else { 2 } {
            self.until = now + HOUR;
            self.to("approved", self.until, "request.approved");
        }
        true
    }

    fn cancel(&mut self, now: i64) -> bool {
        self.recorded(now);
        let possible = ["pending", "approved"].contains(&self.status);
        if possible {
            self.version += 1;
            self.to("cancelled", NEVER, "request.cancelled");
        }
        possible
    }

    fn dispatch(&mut self, token: u8, now: i64) -> bool {
        self.recorded(now);
        let possible = self.status == "approved";
        if possible {
            self.version += 1;
            self.token = token;
            self.to("dispatched", now + 60_000, "request.dispatched");
        }
        possible
    }

    fn begin(&mut self, token: u8, now: i64) -> bool {
        let mut then = self.clone();
        then.tick(now);
        let possible = then.status == "dispatched" && then.token == token;
        if possible {
            *self = then;
            self.version += 1;
            self.begun += 1;
            self.to("running", now + 30_000 + 60_000, "execution.started");
            if self.glass {
                self.review = "open";
                self.entries.push("review.opened");
            }
        }
        possible
    }

    fn review(&mut self, now: i64) -> bool {
        self.recorded(now);
        let possible = self.review == "open" && self.status != "running";
        if possible {
            self.version += 1;
            self.review = "closed";
            self.entries.push("review.closed");
        }
        possible
    }

    fn end(&mut self, ending: &Ending, now: i64) {
        let (status, entry) = match ending {
            Ending::Succeeded => ("succeeded", "execution.succeeded"),
            Ending::Failed { .. } => ("failed", "execution.failed"),
            Ending::Cancelled => ("cancelled", "execution.cancelled"),
            Ending::Unknown => ("unknown", "execution.unknown"),
        };
        let mut then = self.clone();
        then.tick(now);
        if ["running", "unknown"].contains(&then.status) {
            *self = then;
            self.version += 1;
            self.to(status, NEVER, entry);
        } else {
            self.entries.push(entry);
        }
    }
}

#[derive(Clone, Debug)]
enum Call {
    Begin(u8),
    Cancel,
    Dispatch(u8),
    End(Ending),
    File,
    Jump(i64),
    Reopen,
    Review(u8),
    Vote(u8, bool),
}

fn call() -> impl Strategy<Value = Call> {
    let ending = prop_oneof![
        Just(Ending::Succeeded),
        Just(Ending::Cancelled),
        Just(Ending::Unknown),
        Just(Ending::Failed {
            code: Code::DatabaseError,
            sqlstate: Some("23505".into())
        }),
    ];
    let jump = prop_oneof![
        4 => 0..50_000_i64,
        2 => Just(60_000),
        1 => Just(90_000),
        1 => Just(HOUR),
        1 => Just(24 * HOUR),
        1 => -HOUR..0,
    ];
    prop_oneof![
        8 => (1..4_u8, prop::bool::weighted(0.9)).prop_map(|(signer, yes)| Call::Vote(signer, yes)),
        6 => (1..3_u8).prop_map(Call::Dispatch),
        6 => (1..3_u8).prop_map(Call::Begin),
        3 => ending.prop_map(Call::End),
        4 => jump.prop_map(Call::Jump),
        3 => Just(Call::File),
        1 => Just(Call::Cancel),
        1 => Just(Call::Reopen),
        3 => (1..4_u8).prop_map(Call::Review),
    ]
}

/// The two handles, the model, and what both have come to.
struct World {
    rig: Rig,
    states: Vec<State>,
    model: std::collections::BTreeMap<u8, Simple>,
}

impl World {
    async fn step(&mut self, handle: usize, number: u8, call: Call) {
        let now = self.rig.now();
        let ms = now.unix_ms();
        let state = self.states[handle].clone();
        if matches!(call, Call::File | Call::Reopen | Call::Jump(_)) {
            return self.around(handle, number, call).await;
        }
        let known = self.model.contains_key(&number);
        let Some(simple) = self.model.get_mut(&number) else {
            if let Call::Vote(signer, _) = call {
                let voted = cast(&state, number, signer, Decision::Approve).await;
                assert_eq!(voted, Err(RequestError::NotFound(id(number))));
            }
            return assert!(!known);
        };
        match call {
            Call::Vote(signer, yes) => {
                let decision = if yes {
                    Decision::Approve
                } else {
                    Decision::Reject
                };
                let voted = cast(&state, number, signer, decision).await;
                assert_eq!(voted.is_ok(), simple.vote(signer, yes, ms), "{voted:?}");
            }
            Call::Cancel => {
                let decide =
                    move |request: Request, now| Ok(request.cancel(&asked(0).requester, now)?);
                let cancelled = state.requests().transact(&id(number), decide).await;
                assert_eq!(cancelled.is_ok(), simple.cancel(ms), "{cancelled:?}");
            }
            Call::Dispatch(with) => {
                let sent = dispatch(&state, number, with).await;
                assert_eq!(sent.is_ok(), simple.dispatch(with, ms), "{sent:?}");
            }
            Call::Begin(with) => {
                let begun = begin(&state, number, with, now).await;
                assert_eq!(begun.is_ok(), simple.begin(with, ms), "{begun:?}");
            }
            Call::End(ending) => {
                simple.end(&ending, ms);
                end(&state, number, ending, now).await;
            }
            Call::Review(by) => {
                let reviewed = review(&state, number, by).await;
                assert_eq!(reviewed.is_ok(), simple.review(ms), "{reviewed:?}");
            }
            Call::File | Call::Jump(_) | Call::Reopen => {}
        }
    }

    async fn around(&mut self, handle: usize, number: u8, call: Call) {
        let now = self.rig.now();
        match call {
            Call::File => {
                let secret = values();
                let filed = self.states[handle]
                    .requests()
                    .file(pending(number, now), Some(&secret));
                let filed = filed.await;
                assert_eq!(
                    filed.is_ok(),
                    !self.model.contains_key(&number),
                    "{filed:?}"
                );
                self.swept();
                self.model
                    .entry(number)
                    .or_insert_with(|| Simple::filed(number, now.unix_ms()));
            }
            Call::Reopen => {
                let state = self.rig.open();
                std::mem::replace(&mut self.states[handle], state.clone())
                    .close()
                    .await
                    .unwrap();
                // What it found overdue is behind us then.
                state
                    .log()
                    .append(Draft::new(now, EventKind::ServerStarted))
                    .await
                    .unwrap();
                self.swept();
            }
            Call::Jump(ms) => self.rig.clock.jump(ms),
            Call::Begin(_)
            | Call::Cancel
            | Call::Dispatch(_)
            | Call::End(_)
            | Call::Review(_)
            | Call::Vote(..) => {}
        }
    }

    fn swept(&mut self) {
        let now = self.rig.now().unix_ms();
        self.model
            .values_mut()
            .for_each(|simple| simple.recorded(now));
    }

    /// The file, both handles and the model agree about every request.
    fn check(&self) {
        let now = self.rig.now().unix_ms();
        for (number, simple) in &self.model {
            let row = self.rig.row(*number);
            assert_eq!(
                row,
                Some((simple.status.to_owned(), simple.version)),
                "{number}"
            );
            let mut view = simple.clone();
            view.tick(now);
            for state in &self.states {
                let seen = state.requests().get(&id(*number)).unwrap();
                assert_eq!(seen.status().as_str(), view.status);
                assert_eq!(seen.state().votes().len(), view.voted.len());
                let review = seen.review().map_or("", Review::as_str);
                assert_eq!(review, view.review);
                let kept = state.requests().values(&id(*number)).unwrap();
                let needed = seen.version() == simple.version
                    && ["pending", "approved", "dispatched", "running"].contains(&simple.status);
                assert_eq!(kept.is_some(), needed, "{}", simple.status);
            }
            assert!(simple.begun <= 1, "a double run");
        }
        let begun: u32 = self.model.values().map(|simple| simple.begun).sum();
        assert_eq!(
            self.rig.count("select count(*) from journal"),
            i64::from(begun)
        );
    }

    fn check_log(&self) {
        for (number, simple) in &self.model {
            assert_eq!(
                entries(&self.states[0], *number),
                simple.entries,
                "{number}"
            );
        }
        assert!(self.states[0].log().verify(None).unwrap().outcome.is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if elsewhere::is_meant() { 4 } else { 32 }, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_store_and_the_model_agree(
        calls in proptest::collection::vec((0_usize..2, prop::sample::select(&NUMBERS), call()), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let rig = Rig::new();
            let states = vec![rig.open(), rig.open()];
            let mut world = World { rig, states, model: std::collections::BTreeMap::new() };
            for number in NUMBERS {
                world.step(0, number, Call::File).await;
            }
            for (handle, number, call) in calls {
                world.step(handle, number, call).await;
                world.check();
            }
            world.check_log();
        });
    }
}
