package android.content;

public class Intent {
    public Intent(String action) {}
    public static final String ACTION_SEND = "android.intent.action.SEND";
    public static final String ACTION_CREATE_DOCUMENT = "android.intent.action.CREATE_DOCUMENT";
    public static final String CATEGORY_OPENABLE = "android.intent.category.OPENABLE";
    public static final String EXTRA_STREAM = "android.intent.extra.STREAM";
    public static final String EXTRA_TITLE = "android.intent.extra.TITLE";
    public static final int FLAG_GRANT_READ_URI_PERMISSION = 1;
    public Intent setType(String type) { throw new UnsupportedOperationException(); }
    public Intent putExtra(String name, String value) { throw new UnsupportedOperationException(); }
    public Intent putExtra(String name, android.os.Parcelable value) { throw new UnsupportedOperationException(); }
    public Intent addFlags(int flags) { throw new UnsupportedOperationException(); }
    public Intent addCategory(String category) { throw new UnsupportedOperationException(); }
    public android.net.Uri getData() { throw new UnsupportedOperationException(); }
    public static Intent createChooser(Intent target, CharSequence title) { throw new UnsupportedOperationException(); }
}
