"""What a worker works with: the one place where ports meet their vendors.

Chosen from settings and the server's configuration, once, at start. It never pretends on its own: a
scripted model or toolkit is only given to who says so.
"""

from temporalio.client import Client

from runner.activities import Activities
from runner.artifacts import Artifacts
from runner.opening import Terms
from runner.pausing import pause_schedule
from runner.ports import Missing, Model, Notifier, PermanentError, Tool, ToolCall, Toolkits, ToolResult
from runner.settings import Settings
from runner.switch import Switch
from schemas.config import Config, resolved
from schemas.sealing import configured_keys

DEFAULT_MODEL = "claude-sonnet-5-5"
"""The model of tasks that name none, where nobody says another."""


class NoModel(Exception):  # noqa: N818 - it reads as a state
    """There is no key for a model, and nobody asked for a scripted one."""


class NoToolkits:
    """What a worker without a key for tools has: every toolkit is a permanent error that says so."""

    async def tools(self, toolkits: tuple[str, ...], run_as: str | None) -> tuple[Tool, ...]:  # noqa: ARG002
        """Refuse."""
        raise PermanentError(f"this worker cannot use {', '.join(toolkits)}: set COMPOSIO_API_KEY where it runs")

    async def missing(  # the port's words; most are of no use here
        self,
        toolkits: tuple[str, ...],  # noqa: ARG002
        run_as: str | None,  # noqa: ARG002
        *,
        links: bool = True,  # noqa: ARG002
    ) -> tuple[Missing, ...]:
        """Nothing that a person could connect."""
        return ()

    async def call(self, call: ToolCall) -> ToolResult:
        """Refuse."""
        raise PermanentError(f"this worker cannot use {call.toolkit}: set COMPOSIO_API_KEY where it runs")


def is_scripted(settings: Settings, config: Config) -> bool:
    """True without a model of any kind: then the thinking is scripted, and so are the tools."""
    return config.model.provider == "anthropic" and not (settings.anthropic_key or base_url(settings, config))


def base_url(settings: Settings, config: Config) -> str | None:
    """Where the model is asked; None is the provider's own endpoint."""
    # What a proxy left in the environment must not get requests that are signed for a cloud.
    own = settings.anthropic_base_url if config.model.provider == "anthropic" else None
    return own or config.model.base_url


def default_model(settings: Settings, config: Config) -> str:
    """The model of tasks that name none."""
    return settings.model or config.model.default or DEFAULT_MODEL


def equip(
    client: Client, settings: Settings, config: Config, *, scripted: bool, spans: object | None = None
) -> Activities:
    """Every port with its vendor. Only who says `scripted` gets pretended thinking: raises NoModel.

    Raises ValueError that names a variable of the configuration which is not set.
    """
    if is_scripted(settings, config) and not scripted:
        raise NoModel("no model to think with: set ANTHROPIC_API_KEY, or say --scripted for pretended thinking")
    keys = configured_keys(config, settings.environ)
    return Activities(
        model=_model(settings, config, spans),
        toolkits=choose_toolkits(settings, config, scripted=scripted),
        notifier=_channels(settings, config),
        terms=Terms(
            model=default_model(settings, config),
            prices=config.model.prices,
            free=is_scripted(settings, config),
            sum_up_at=config.model.summarize_at,
            pause_after=config.pause_after_failures,
            maxima=config.limits,
            url=(config.url or "").rstrip("/"),
        ),
        shelf=Artifacts(settings.artifacts, keys) if settings.artifacts else None,
        switch=Switch(client),
        pause=pause_schedule,
    )


def _model(settings: Settings, config: Config, spans: object | None) -> Model:
    if is_scripted(settings, config):
        from runner.adapters.scripted import ScriptedModel  # noqa: PLC0415 - only what is used is loaded

        return ScriptedModel(pause=settings.scripted_pause)
    from runner.adapters.anthropic import AnthropicModel  # noqa: PLC0415

    named, url = default_model(settings, config), base_url(settings, config)
    return AnthropicModel(settings.anthropic_key or "", url, named, provider=config.model.provider, spans=spans)


def choose_toolkits(settings: Settings, config: Config, *, scripted: bool) -> Toolkits:
    """Composio with a key and a real model, for a scripted one would send what nobody meant."""
    if settings.composio_key and not is_scripted(settings, config):
        from runner.adapters.composio import ComposioToolkits  # noqa: PLC0415

        return ComposioToolkits(settings.composio_key, settings.composio_base_url, settings.run_as)
    if not scripted:
        return NoToolkits()
    from runner.adapters.scripted import ScriptedToolkits  # noqa: PLC0415

    return ScriptedToolkits(settings.workspace, pause=settings.scripted_pause)


def _channels(settings: Settings, config: Config) -> Notifier | None:
    if not config.channels:
        return None
    from runner.adapters.notify import Channel, Channels  # noqa: PLC0415

    def clear(text: str | None) -> str | None:
        return resolved(text, settings.environ)

    named = {
        name: Channel(clear(each.apprise), clear(each.webhook), clear(each.secret))
        for name, each in config.channels.items()
    }
    return Channels(named, config.private_hosts)
