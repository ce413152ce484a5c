def onReceiveOSC(dat, rowIndex, message, byteData, timeStamp, address, args, *rest):
    ext.ImageWorkerExt.received(address, args)
