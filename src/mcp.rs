//! FACE: the MCP server. Thin: it turns calls into questions for the broker and answers into
//! results. Every tool call passes [`call`], and there is no other way in.

pub mod bridge;
pub mod call;
pub mod http;
pub mod prompts;
pub mod remote;
pub mod resources;
pub mod schema;
pub mod serve;
pub mod tools;

mod experimental;
mod kept;
mod person;
mod stdio;
mod tally;
mod tasks;

use std::sync::Arc;

use futures::FutureExt as _;
use rmcp::ServerHandler;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CancelTaskParams, CustomRequest,
    CustomResult, GetPromptRequestParams, GetPromptResponse, GetTaskParams, GetTaskResult,
    Implementation, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
    ListToolsResult, PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse,
    ServerCapabilities, ServerConfig, SubscriptionFilter, Tool as Listed, UpdateTaskParams,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer};

use crate::agent::can_have_vectors;
use crate::broker::{Broker, Caller, CapabilityTools, Link, Rights, capability, vectors};
use crate::core::level::Level;
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::statement::Effect;
use crate::core::target::Target;
use crate::mcp::experimental::Kept;
use crate::mcp::person::{Abilities, Offers};
use crate::mcp::tasks::Runs;
use crate::mcp::tools::Tool;
use crate::mcp::tools::capability::{self as offered, MOST_TOOLS, Named};
pub use tally::Tally;

/// The largest message from a client, in bytes: a statement with all its parameters fits.
pub const MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// The MCP server of one process.
#[derive(Clone, Debug)]
pub struct Server {
    broker: Arc<Broker>,
    os_user: Arc<str>,
    level: Level,
    /// Who its clients speak for: a model, or the person who holds a token of their own.
    kind: PrincipalKind,
    /// What the key allows that its clients came with.
    rights: Option<Rights>,
    offers: Arc<Offers>,
    runs: Runs,
    kept: Arc<Kept>,
    tally: Arc<Tally>,
    alone: Arc<[Listed]>,
    with_people: Arc<[Listed]>,
}

/// What a tool's name stands for.
#[derive(Debug)]
enum Called {
    /// A tool of SecondKey's own.
    Own(Tool),
    /// A capability that is a tool of its own.
    Capability(Box<capability::Listed>),
}

impl Server {
    /// Serves `broker` to the clients of one user of this machine, each of which speaks for a model.
    pub fn new(broker: Arc<Broker>, os_user: &str) -> Self {
        let allowed = |target: &Target| target.allow.iter().any(|effect| *effect > Effect::Read);
        // Agents that dial in come and go; what they serve is not known now.
        let writes = match &broker.link {
            Link::Here { targets, .. } => targets.iter().any(|target| allowed(target)),
            Link::Dialed(_) => true,
        };
        let list = |tool: Tool, writes| tool.listed(writes);
        let of_all = Tool::ALL.into_iter();
        let of_all = of_all.filter(|tool| *tool != Tool::ApprovalDecide);
        let alone = of_all
            .clone()
            .filter(|tool| *tool != Tool::Request)
            .filter(|tool| writes || ![Tool::SqlBatch, Tool::VectorUpsert].contains(tool));
        Self {
            broker,
            os_user: os_user.into(),
            level: Level::Guarded,
            kind: PrincipalKind::Ai,
            rights: None,
            offers: Arc::default(),
            runs: Runs::default(),
            kept: Arc::default(),
            tally: Arc::default(),
            alone: alone.map(|tool| list(tool, writes)).collect(),
            with_people: of_all.map(|tool| list(tool, true)).collect(),
        }
    }

    /// The deciding part behind it.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// What came of the calls of this server and of its likes: `ok`, `waits` (for a person), or a refusal's code.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The same for clients in the hands of the user in person, who has to be known by more than
    /// their own word. They are shown the tool that opens a request's page, too.
    #[must_use]
    pub fn for_the_person(&self) -> Self {
        let mut with_people = self.with_people.to_vec();
        with_people.insert(0, Tool::ApprovalDecide.listed(true));
        Self {
            kind: PrincipalKind::Human,
            with_people: with_people.into(),
            ..self.clone()
        }
    }

    /// The same for the holder of a relay's API key.
    #[must_use]
    pub fn for_holder(&self, holder: &Principal, rights: Rights) -> Self {
        Self {
            os_user: holder.name().into(),
            kind: holder.kind(),
            rights: Some(rights),
            ..self.clone()
        }
    }

    /// The same for another user of this machine.
    #[must_use]
    pub fn for_user(&self, os_user: &str) -> Self {
        Self {
            os_user: os_user.into(),
            ..self.clone()
        }
    }

    /// The same, with this to say of what the set-up holds against.
    #[must_use]
    pub fn at_level(&self, level: Level) -> Self {
        Self {
            level,
            ..self.clone()
        }
    }

    /// The tools that can be of use here: what waits for people is of none where nobody can be asked, and
    /// what runs free SQL where no target takes any.
    fn tools(&self) -> Vec<Listed> {
        let (own, named) = self.all();
        let several = self.broker.link.targets().len() > 1;
        let of_capability =
            |(tool, one): (&String, &capability::Listed)| offered::listed(tool, one, several);
        let own = own.into_iter().map(|mut tool| {
            if named.left_out > 0 && tool.name == Tool::CapabilityList.name() {
                let more = format!(
                    "\n{} of them are no tools of their own here, because there are too many.",
                    named.left_out
                );
                tool.description = tool
                    .description
                    .map(|text| (text.into_owned() + &more).into());
            }
            tool
        });
        own.chain(named.tools.iter().map(of_capability)).collect()
    }

    /// SecondKey's own tools, and the capabilities that are tools of their own.
    fn all(&self) -> (Vec<Listed>, Named) {
        let own = match self.broker.state.trust() {
            Ok(Some(_)) => &self.with_people,
            Ok(None) | Err(_) => &self.alone,
        };
        let free_sql = capability::takes_free_sql_somewhere(&self.broker);
        let caller = Caller {
            principal: Principal::new(self.kind, &self.os_user),
            rights: self.rights.clone(),
        };
        let vectors = vectors::are_of_use(&self.broker, &caller);
        let of_use = |by_name| {
            move |tool: &&Listed| {
                let targets = (free_sql, by_name);
                Tool::named(&tool.name).is_none_or(|it| offered::is_of_use(it, targets, vectors))
            }
        };
        let without = own.iter().filter(of_use(false)).count();
        let room = match self.broker.capability_tools {
            CapabilityTools::Auto => MOST_TOOLS.saturating_sub(without),
            CapabilityTools::Each => usize::MAX,
            CapabilityTools::Call => 0,
        };
        let named = offered::named(&self.broker, &caller, room);
        let own = own.iter().filter(of_use(named.left_out > 0));
        (own.cloned().collect(), named)
    }

    /// What a tool's name stands for. SecondKey's own tools can be called whether or not they are listed.
    fn named(&self, tool: &str) -> Option<Called> {
        if let Some(own) = Tool::named(tool) {
            return Some(Called::Own(own));
        }
        let (_, mut named) = self.all();
        let one = named.tools.remove(tool)?;
        Some(Called::Capability(Box::new(one)))
    }

    /// Whether what is offered by name can change while a client is there.
    fn offers_change(&self) -> bool {
        match &self.broker.link {
            Link::Here { agent, targets } => targets.iter().any(|target| {
                agent.capabilities(target.name.as_str()).is_some() || can_have_vectors(target)
            }),
            Link::Dialed(_) => true,
        }
    }

    /// What the client can do. A relay has no page that could be opened where the client is.
    fn abilities(&self, context: &RequestContext<RoleServer>) -> Abilities {
        let abilities = Abilities::of(context);
        if self.broker.page.can_be_opened() {
            abilities
        } else {
            abilities.without_a_page()
        }
    }

    /// Who calls: the user of this machine and the name the client gives itself, a label and no
    /// proof; or the user in person.
    fn caller(&self, context: &RequestContext<RoleServer>) -> Caller {
        let principal = match self.kind {
            PrincipalKind::Human | PrincipalKind::Service => {
                Principal::new(self.kind, &self.os_user)
            }
            PrincipalKind::Ai => {
                let client = context.client_info();
                let client = client.map_or_else(|| "unknown".into(), |info| info.name);
                Principal::client_of(&self.os_user, &client)
            }
        };
        Caller {
            principal,
            rights: self.rights.clone(),
        }
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let mut capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_prompts()
            .enable_tasks()
            .build();
        if let Some(tools) = capabilities.tools.as_mut().filter(|_| self.offers_change()) {
            tools.list_changed = Some(true);
        }
        ServerConfig::new(capabilities)
            .with_server_info(
                Implementation::new("secondkey", env!("CARGO_PKG_VERSION")).with_title("SecondKey"),
            )
            .with_instructions(include_str!("../tools/instructions.md").trim())
    }

    fn get_tool(&self, name: &str) -> Option<Listed> {
        self.tools().into_iter().find(|tool| tool.name == name)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools()).with_cache_scope(CacheScope::Private))
    }

    /// Tells a client of the older protocol when its tools change, as long as it is there.
    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        if !self.offers_change() {
            return;
        }
        let mut changes = self.broker.link.changes();
        tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                if context.peer.notify_tool_list_changed().await.is_err() {
                    return;
                }
            }
        });
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        self.offers_change().then(|| requested.clone())
    }

    /// Tells a client of the newer protocol, for as long as it listens.
    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.broker.link.changes();
        loop {
            tokio::select! {
                () = context.cancelled() => return Ok(()),
                news = changes.changed() => {
                    if news.is_err() || context.sink().notify_tool_list_changed().await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let caller = self.caller(&context);
        // Boxed, because the protocol's layers move this future about.
        let call = Box::pin(call::call(self, &caller, request, context));
        call.await
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        let caller = self.caller(&context);
        let opens = self.abilities(&context).opens;
        let task = tasks::get(self, &caller, opens, &request.task_id);
        let task = Box::pin(call::guard("tasks/get", task)).await?;
        Ok(GetTaskResult::new(task))
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let caller = self.caller(&context);
        let update = tasks::update(self, &caller, &request.task_id);
        Box::pin(call::guard("tasks/update", update)).await
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let caller = self.caller(&context);
        let cancel = tasks::cancel(self, &caller, &request.task_id);
        Box::pin(call::guard("tasks/cancel", cancel)).await
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let answer = experimental::answer(self, request, context);
        Box::pin(answer).await.map(CustomResult::new)
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let caller = self.caller(&context);
        let list = resources::list(&self.broker, &caller);
        Box::pin(call::guard("resources/list", list.map(Ok))).await
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(resources::templates())
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let caller = self.caller(&context);
        let read = resources::read(&self.broker, &caller, &request.uri);
        Box::pin(call::guard("resources/read", read))
            .await
            .map(Into::into)
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(prompts::list())
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        prompts::read(&self.broker, &request).map(Into::into)
    }
}
