from pathlib import Path

import pytest

from gateway.settings import DEFAULT_ADDRESS, SettingsError, read_settings
from schemas.config import CONFIG_FILE, Config


def elsewhere(tmp_path: Path) -> dict[str, str]:
    """An environment whose default profile cannot be this machine's own."""
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}


def test_an_empty_environment_means_temporal_on_this_machine(tmp_path: Path) -> None:
    settings = read_settings(elsewhere(tmp_path))
    assert settings.temporal["target_host"] == DEFAULT_ADDRESS
    assert settings.queue == "goalfile"


def test_temporals_own_variables_are_honoured(tmp_path: Path) -> None:
    said = {"TEMPORAL_ADDRESS": "temporal.example:7233", "TEMPORAL_NAMESPACE": "goals", "GOALFILE_QUEUE": "q"}
    settings = read_settings({**elsewhere(tmp_path), **said})
    assert settings.temporal["target_host"] == "temporal.example:7233"
    assert settings.temporal["namespace"] == "goals"
    assert settings.queue == "q"


def test_a_profile_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nowhere"):
        read_settings({**elsewhere(tmp_path), "TEMPORAL_PROFILE": "nowhere"})


def test_an_empty_queue_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="GOALFILE_QUEUE"):
        read_settings({**elsewhere(tmp_path), "GOALFILE_QUEUE": " "})


def test_without_a_configuration_file_every_name_is_left_to_the_server(tmp_path: Path) -> None:
    settings = read_settings(elsewhere(tmp_path), tmp_path)
    assert settings.config == Config()
    assert (settings.composio_key, settings.composio_url) == (None, None)


def test_the_configuration_file_of_the_folder_is_read_and_the_named_one_before_it(tmp_path: Path) -> None:
    (tmp_path / CONFIG_FILE).write_text("pause_after_failures: 3\n")
    (tmp_path / "other.yaml").write_text("pause_after_failures: 4\n")
    assert read_settings(elsewhere(tmp_path), tmp_path).config.pause_after_failures == 3
    named = {**elsewhere(tmp_path), "GOALFILE_CONFIG": "other.yaml"}
    assert read_settings(named, tmp_path).config.pause_after_failures == 4


@pytest.mark.parametrize("named", ["missing.yaml", "."])
def test_a_named_configuration_that_cannot_be_read_is_an_error(tmp_path: Path, named: str) -> None:
    with pytest.raises(SettingsError, match=r"cannot be read: .*; set GOALFILE_CONFIG"):
        read_settings({**elsewhere(tmp_path), "GOALFILE_CONFIG": named}, tmp_path)


def test_a_default_configuration_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / CONFIG_FILE).mkdir()
    with pytest.raises(SettingsError, match=f"{CONFIG_FILE} cannot be read"):
        read_settings(elsewhere(tmp_path), tmp_path)


def test_every_problem_of_a_configuration_is_a_line_with_its_place(tmp_path: Path) -> None:
    (tmp_path / CONFIG_FILE).write_text("chanels: {}\nrun_as: 3\n")
    with pytest.raises(SettingsError) as refused:
        read_settings(elsewhere(tmp_path), tmp_path)
    lines = str(refused.value).splitlines()
    assert [line.removeprefix(str(tmp_path / CONFIG_FILE))[:5] for line in lines] == [":1:1:", ":2:9:"]
    assert "did you mean `channels`" in lines[0]


def test_an_endless_configuration_is_not_read_to_its_end(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="too-large"):
        read_settings({**elsewhere(tmp_path), "GOALFILE_CONFIG": "/dev/zero"}, tmp_path)


def test_composios_key_is_read_and_never_shown(tmp_path: Path) -> None:
    said = {"COMPOSIO_API_KEY": " ak_secret\n", "COMPOSIO_BASE_URL": "https://composio.example"}
    settings = read_settings({**elsewhere(tmp_path), **said}, tmp_path)
    assert (settings.composio_key, settings.composio_url) == ("ak_secret", "https://composio.example")
    assert "ak_secret" not in repr(settings)


@pytest.mark.parametrize("key", ["ak\nother", "clé"])
def test_what_cannot_be_sent_as_a_key_is_an_error(tmp_path: Path, key: str) -> None:
    with pytest.raises(SettingsError, match="COMPOSIO_API_KEY") as refused:
        read_settings({**elsewhere(tmp_path), "COMPOSIO_API_KEY": key}, tmp_path)
    assert key not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://composio.example", True),
        ("http://127.0.0.1:9", True),
        ("http://[::1]:9", True),
        ("http://localhost:9", True),
        ("http://composio.example", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://127.0.0.1@evil.example", False),
        ("ftp://127.0.0.1", False),
        ("composio.example", False),
        ("https://", False),
        ("https://composio.example:port", False),
    ],
)
def test_the_key_travels_encrypted_or_not_at_all(tmp_path: Path, url: str, *, fine: bool) -> None:
    said = {**elsewhere(tmp_path), "COMPOSIO_API_KEY": "ak", "COMPOSIO_BASE_URL": url}
    if fine:
        assert read_settings(said, tmp_path).composio_url == url
        return
    with pytest.raises(SettingsError, match="COMPOSIO_BASE_URL must be an https:// address"):
        read_settings(said, tmp_path)
