"""Settings of this machine and user, from the environment or a file."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from stores.errors import InputError
from stores.settings_file import read_settings_file, settings_file


class Settings(BaseSettings):
    """What differs between machines, not between campaigns.

    The environment (``MGSURF_STORE=...``) goes before the file (``store: ...`` in ``~/.config/mgsurf.yaml``,
    or the file that ``MGSURF_CONFIG`` names), which goes before the defaults.
    """

    model_config = SettingsConfigDict(env_prefix="MGSURF_", extra="forbid")

    store: str = Field(
        default="", description="URI of the store of commands that name none; '': ./mgsurf.sqlite"
    )
    work_dir: str = Field(
        default="", description="Folder of the raw files of calculations; '': ./mgsurf_runs"
    )
    ranks: int | None = Field(
        default=None, ge=1, description="MPI ranks of a calculation; None: one for each physical core"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment, then the file."""
        return init_settings, env_settings, _FileSource(settings_cls)


class _FileSource(PydanticBaseSettingsSource):
    """The settings file, read each time."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """Return nothing for a single field: the file is read as a whole."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        return read_settings_file()


def load_settings() -> Settings:
    """Return the settings; `InputError` names a wrong one, what is wrong and where it may come from."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        known = ", ".join(Settings.model_fields)
        raise InputError(
            f"Setting {name}: {first['msg']} (from {settings_file() or 'the environment, MGSURF_...'}); "
            f"known settings are {known}."
        ) from error
