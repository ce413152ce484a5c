def onStart():
    ext.ImageWorkerExt.opened()


def onCreate():
    ext.ImageWorkerExt.opened()


def create():  # some builds call it so
    ext.ImageWorkerExt.opened()


def onExit():
    ext.ImageWorkerExt.exit()
