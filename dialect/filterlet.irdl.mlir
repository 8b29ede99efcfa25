irdl.dialect @filterlet {
}
