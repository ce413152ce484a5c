def onPulse(par):
    ext.ImageWorkerExt.pulsed(par.name)


def onValueChange(par, *rest):  # builds before 2023 give the value, too
    ext.ImageWorkerExt.changed(par.name)
