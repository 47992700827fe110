from typing import Any


class PinholeCameraCfg:
    def __init__(self, **settings: Any) -> None:
        pass
