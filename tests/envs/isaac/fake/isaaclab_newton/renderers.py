class NewtonWarpRendererCfg:
    pass
