def onCook(scriptOp):
    ext.ImageWorkerExt.cooked(scriptOp)
