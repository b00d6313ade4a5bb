from pathlib import Path

import pytest

from gateway.settings import DEFAULT_ADDRESS, SettingsError, read_settings


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
