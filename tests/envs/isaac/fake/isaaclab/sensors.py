from typing import Any


class CameraCfg:
    def __init__(self, **settings: Any) -> None:
        self.__dict__.update(settings)
